// Java's own client for the matrix: writes what it is told and digests what it reads. Each connection is a producer or
// a reading, on a thread of its own. Started once for all kinds; it prints its port and ends with its standard input.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class MatrixPeer {
    private static final long NO_TIMESTAMP = Long.MIN_VALUE; // the client's own clock
    private static final Duration READ_WITHIN = Duration.ofSeconds(60);

    public static void main(String[] arguments) throws IOException {
        ServerSocket server = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
        Thread accepting = new Thread(() -> accept(server));
        accepting.setDaemon(true);
        accepting.start();
        System.out.println(server.getLocalPort());
        while (System.in.read() >= 0) { }
        System.exit(0);
    }

    private static void accept(ServerSocket server) {
        while (true) {
            try {
                Socket socket = server.accept();
                Thread serving = new Thread(() -> serve(socket));
                serving.setDaemon(true);
                serving.start();
            } catch (IOException gone) {
                return;
            }
        }
    }

    private static void serve(Socket socket) {
        try (socket) {
            DataInputStream in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), 1 << 16));
            DataOutputStream out = new DataOutputStream(new BufferedOutputStream(socket.getOutputStream()));
            switch (in.readUnsignedByte()) {
                case 'W' -> new Writing(in, out).run();
                case 'R' -> read(in, out);
                default -> throw new IOException("neither writing nor reading");
            }
        } catch (IOException gone) {
            // the other side has ended
        }
    }

    private static Properties properties(DataInputStream in) throws IOException {
        Properties found = new Properties();
        for (int left = in.readInt(); left > 0; left--) {
            String name = in.readUTF();
            found.put(name, in.readUTF());
        }
        return found;
    }

    private static byte[] bytes(DataInputStream in) throws IOException {
        int size = in.readInt();
        return size < 0 ? null : in.readNBytes(size);
    }

    /** One producer: R a record, F flush, B begin, C commit, A abort; the end of the connection closes it. */
    private static final class Writing {
        private final DataInputStream in;
        private final DataOutputStream out;
        private final List<Future<RecordMetadata>> sent = new ArrayList<>();

        Writing(DataInputStream in, DataOutputStream out) {
            this.in = in;
            this.out = out;
        }

        void run() throws IOException {
            Properties settings = properties(in);
            ByteArraySerializer plain = new ByteArraySerializer();
            try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(settings, plain, plain)) {
                if (settings.containsKey("transactional.id")) {
                    producer.initTransactions();
                }
                answer("");
                while (true) {
                    int what = in.readUnsignedByte();
                    if (what == 'R') {
                        ProducerRecord<byte[], byte[]> record = record();
                        try {
                            sent.add(producer.send(record));
                        } catch (RuntimeException refused) {
                            sent.add(java.util.concurrent.CompletableFuture.failedFuture(refused));
                        }
                    } else {
                        answer(order(producer, what));
                    }
                }
            } catch (EOFException ended) {
                // as it should be
            } catch (RuntimeException failed) {
                answer(failed.toString());
            }
        }

        private String order(KafkaProducer<byte[], byte[]> producer, int what) {
            try {
                switch (what) {
                    case 'F' -> producer.flush();
                    case 'B' -> producer.beginTransaction();
                    case 'C' -> producer.commitTransaction();
                    case 'A' -> producer.abortTransaction();
                    default -> throw new IllegalStateException("order " + what);
                }
                if (what != 'A') {
                    for (Future<RecordMetadata> each : sent) {
                        each.get();
                    }
                }
                sent.clear();
                return "";
            } catch (Exception failed) {
                return failed.toString();
            }
        }

        private ProducerRecord<byte[], byte[]> record() throws IOException {
            String topic = in.readUTF();
            int partition = in.readInt();
            long timestamp = in.readLong();
            byte[] recordKey = bytes(in);
            byte[] value = bytes(in);
            List<Header> headers = new ArrayList<>();
            for (int left = in.readInt(); left > 0; left--) {
                String name = in.readUTF();
                headers.add(new RecordHeader(name, bytes(in)));
            }
            return new ProducerRecord<>(
                topic, partition, timestamp == NO_TIMESTAMP ? null : timestamp, recordKey, value, headers);
        }

        private void answer(String trouble) throws IOException {
            out.writeUTF(trouble.length() > 1000 ? trouble.substring(0, 1000) : trouble);
            out.flush();
        }
    }

    /** Reads every partition up to where a read_committed reader ends; answers with the count and SHA-256 of each. */
    private static void read(DataInputStream in, DataOutputStream out) throws IOException {
        Properties settings = properties(in);
        String topic = in.readUTF();
        ByteArrayDeserializer plain = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings, plain, plain)) {
            int count = consumer.partitionsFor(topic).size();
            out.writeInt(count);
            for (int number = 0; number < count; number++) {
                TopicPartition partition = new TopicPartition(topic, number);
                consumer.assign(List.of(partition));
                consumer.seekToBeginning(List.of(partition));
                long end = consumer.endOffsets(List.of(partition)).get(partition);
                MessageDigest digest = MessageDigest.getInstance("SHA-256");
                int records = 0;
                long deadline = System.nanoTime() + READ_WITHIN.toNanos();
                while (consumer.position(partition) < end) {
                    for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                        digest.update(canonical(record));
                        records++;
                    }
                    if (System.nanoTime() > deadline) {
                        throw new IOException("not read to its end in time: " + partition);
                    }
                }
                out.writeInt(records);
                out.writeUTF(HexFormat.of().formatHex(digest.digest()));
            }
        } catch (java.security.NoSuchAlgorithmException impossible) {
            throw new IOException(impossible);
        }
        out.flush();
    }

    private static byte[] canonical(ConsumerRecord<byte[], byte[]> record) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(all);
        out.writeLong(record.timestamp());
        sized(out, record.key());
        sized(out, record.value());
        int count = 0;
        for (Header ignored : record.headers()) {
            count++;
        }
        out.writeInt(count);
        for (Header header : record.headers()) {
            sized(out, header.key().getBytes(StandardCharsets.UTF_8));
            sized(out, header.value());
        }
        return all.toByteArray();
    }

    private static void sized(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes != null) {
            out.write(bytes);
        }
    }
}
