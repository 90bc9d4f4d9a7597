#!/bin/sh
# Seals what opens a vault into this machine's TPM 2.0, for `vault: {command: [tpm2_unseal, ...]}` (tpm2-tools 5).
#
#   tpm-seal.sh KEY_FILE [HANDLE [PCRS]]
#
# KEY_FILE holds the 32 bytes, as `head -c 32 /dev/urandom | base64` makes them; it is read and left where it is: bring
# it to a safe, then remove it. HANDLE is where the TPM keeps it (0x81018001). With PCRS (sha256:7 is whether Secure
# Boot is on, and by whose keys) the TPM gives it to this machine in this state only; with "" to this TPM in any state.
set -eu
key_file=${1:?"tpm-seal.sh KEY_FILE [HANDLE [PCRS]]"}
handle=${2:-0x81018001}
pcrs=${3-sha256:7}

umask 077
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT

tpm2_createprimary --quiet --hierarchy=owner --key-context="$there/primary"
if [ -n "$pcrs" ]; then
  tpm2_createpolicy --quiet --policy-pcr --pcr-list="$pcrs" --policy="$there/policy"
  # No password opens it (userwithauth is left out): only a policy session in which the PCRs are as they are now.
  set -- --policy="$there/policy" --attributes='fixedtpm|fixedparent|noda'
else
  set -- --attributes='fixedtpm|fixedparent|userwithauth|noda'
fi
tpm2_create --quiet --parent-context="$there/primary" "$@" --sealing-input=- \
  --public="$there/public" --private="$there/private" < "$key_file"
tpm2_load --quiet --parent-context="$there/primary" --public="$there/public" --private="$there/private" \
  --key-context="$there/sealed"
tpm2_evictcontrol --quiet --hierarchy=owner --object-context="$there/sealed" "$handle"

set -- "--object-context=$handle"
[ -z "$pcrs" ] || set -- "$@" "--auth=pcr:$pcrs"
if ! tpm2_unseal "$@" | cmp -s - "$key_file"; then
  echo "tpm-seal.sh: what the TPM gives back is not what it was given" >&2
  exit 1
fi
echo "vault: {command: [tpm2_unseal$(printf ", '%s'" "$@")]}"
