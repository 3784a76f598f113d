#!/usr/bin/env bash
# Starts a Docker Engine where none answers, and waits until it does. Prints the pid of what it
# started (nothing where one was running already), so that the caller can stop it.
#
#   scripts/start-dockerd.sh [FOLDER]     FOLDER: where dockerd.log goes; default a new one in /tmp
set -euo pipefail

socket=/var/run/docker.sock

answers() {
  curl --silent --fail --max-time 5 --output /dev/null --unix-socket "$socket" http://docker/_ping
}

if answers; then
  echo 'a Docker Engine is running already' >&2
  exit 0
fi

folder=${1:-$(mktemp -d /tmp/dockerd.XXXXXX)}
mkdir -p "$folder"
log=$folder/dockerd.log

# The first driver that works here: overlay2 does not on every file system, vfs does.
for driver in overlay2 vfs; do
  echo "starting dockerd with $driver; its log is $log" >&2
  dockerd --storage-driver="$driver" >>"$log" 2>&1 </dev/null &
  pid=$!
  for _ in $(seq 150); do
    if answers; then
      echo "$pid"
      exit 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
  done
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
done

echo "dockerd does not start; the end of $log:" >&2
tail -n 40 "$log" >&2
exit 1
