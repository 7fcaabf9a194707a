#!/bin/sh
# Makes the secrets of docker-compose.yml, one file each, in ./secrets (or in the folder that is named):
#   sudo deploy/make-secrets.sh
# What is there already stays as it is, so running it again does no harm. The processes in the containers run as user 1000
# and read the files as they lie here, so the files belong to that user and nobody else may read them.
set -eu
umask 077
container_user=1000

cd "$(dirname "$0")/.."
folder=${1:-secrets}
if [ "$(id -u)" != 0 ] && [ "$(id -u)" != "$container_user" ]; then
  echo "make-secrets.sh: run it with sudo: the files must belong to user $container_user, whom the containers run as" >&2
  exit 1
fi
mkdir -p "$folder"

# keep <name> <text>: writes the file, unless there is one.
keep() {
  file=$folder/$1
  if [ -e "$file" ]; then
    echo "kept  $file"
    return
  fi
  printf '%s' "$2" >"$file.new"
  mv "$file.new" "$file"
  echo "made  $file"
}
hex() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
base64_key() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }

keep postgres_password "$(hex)"
keep database_url "postgres://answerline:$(cat "$folder/postgres_password")@postgres:5432/answerline"
keep nats_password "$(hex)"
keep nats_users "users: [{ user: answerline, password: \"$(cat "$folder/nats_password")\" }]
"
keep nats_url "nats://answerline:$(cat "$folder/nats_password")@nats:4222"
keep elastic_password "$(hex)"
keep elasticsearch_url "http://elastic:$(cat "$folder/elastic_password")@elasticsearch:9200"
keep encryption_keys "k1:$(base64_key)"
keep auth_secret "$(hex)"
keep operator_key "$(hex)"
keep internal_token "$(hex)"
# Empty until somebody has one: docker compose wants each file to be there.
keep openai_api_key ''
keep embedding_api_key ''
keep smtp_url ''

if [ "$(id -u)" = 0 ]; then chown -R "$container_user:$container_user" "$folder"; fi
