# What the role of this machine may do: read one secret.
path "secret/data/sealwire/producer1" {
  capabilities = ["read"]
}
