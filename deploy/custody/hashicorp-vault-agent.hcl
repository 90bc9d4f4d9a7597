# Of the Vault agent beside the worker: it logs in as this machine, and lends its token to whoever reaches the socket.
vault {
  address = "https://vault.example:8200"
}

auto_auth {
  method "cert" {
    config = {
      name        = "sealwire-producer1"
      client_cert = "/etc/vault-agent/machine.pem"
      client_key  = "/etc/vault-agent/machine.key"
    }
  }
}

api_proxy {
  use_auto_auth_token = "force"
}

listener "unix" {
  address      = "/run/vault-agent/sealwire.sock"
  socket_mode  = "660"
  socket_group = "sealwire"
  tls_disable  = true
}
