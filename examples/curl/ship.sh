#!/bin/sh
# Ships an SQLite database in WAL mode to a walferry Worker, with sqlite3 and curl alone. It writes nothing to the database.
#
#   WALFERRY_TOKEN=... ./ship.sh app.db https://ferry.example.workers.dev/v1/app [seconds between looks]
#
# A connection holds a read transaction, so that no frame that is not shipped is ever overwritten. Every 1,000 frames the
# WAL is copied back to the database and let go, under the write lock for as long as that takes. Whatever else happens
# to the WAL, the database file is sent and the Worker takes the pages that differ.
# docs/worker.md says why each step is where it is.
set -eu

if [ $# -lt 2 ] || [ -z "${WALFERRY_TOKEN:-}" ]; then
  echo "usage: WALFERRY_TOKEN=... $0 DATABASE URL-OF-THE-DATABASE [SECONDS]" >&2
  exit 2
fi
db=$1 url=$2 pause=${3:-1}
enough=1000                        # frames, until the WAL is let go
piece=${WALFERRY_PIECE:-33554432} # bytes of the database file in a request

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
printf 'Authorization: Bearer %s\n' "$WALFERRY_TOKEN" >"$tmp/token"

say() { echo "ship: $*" >&2; }

# Three sessions of sqlite3: two that read in turn, and one that holds the write lock for a moment.
for name in a b lock; do
  mkfifo "$tmp/$name.in" "$tmp/$name.out"
  sqlite3 -batch -noheader "$db" <"$tmp/$name.in" >"$tmp/$name.out" 2>&1 &
done
exec 3>"$tmp/a.in" 4<"$tmp/a.out" 5>"$tmp/b.in" 6<"$tmp/b.out" 7>"$tmp/lock.in" 8<"$tmp/lock.out"

# Has a session do something; what it says is in $reply.
ask() {
  case $1 in a) in=3 out=4 ;; b) in=5 out=6 ;; lock) in=7 out=8 ;; esac
  printf '%s\n.print done\n' "$2" >&$in
  reply=
  while IFS= read -r line <&$out; do
    if [ "$line" = done ]; then return 0; fi
    reply=$reply$line
  done
  say "sqlite3 has ended: $reply"
  exit 1
}

begin() { ask "$1" 'BEGIN; SELECT count(*) FROM sqlite_schema;'; }

# The header of the wal-index: which frame is the newest that is committed, its checksum, the salts, and how many frames
# are copied back. Fails while it is being written. (Numbers as little-endian machines have them; salts are big-endian.)
look() {
  set -- $(od -An -v -t u1 -N 100 "$db-shm")
  [ $# -eq 100 ] || return 1
  one= two= at=0
  for byte in "$@"; do
    at=$((at + 1))
    if [ $at -le 48 ]; then one="$one $byte"; elif [ $at -le 96 ]; then two="$two $byte"; fi
  done
  [ "$one" = "$two" ] || return 1
  shift 16; frames=$(($1 | $2 << 8 | $3 << 16 | $4 << 24))
  shift 8; checksum1=$(($1 | $2 << 8 | $3 << 16 | $4 << 24)); shift 4; checksum2=$(($1 | $2 << 8 | $3 << 16 | $4 << 24))
  shift 4; salt1=$(($1 << 24 | $2 << 16 | $3 << 8 | $4)); shift 4; salt2=$(($1 << 24 | $2 << 16 | $3 << 8 | $4))
  shift 60; copied=$(($1 | $2 << 8 | $3 << 16 | $4 << 24))
}

# Asks the Worker; what it says of itself is in $status, $txid, $next: how far it has come with a file that is sent in parts, and
# $held_... : where in the WAL it stands.
request() {
  next=
  if ! status=$(curl -sS -o "$tmp/answer" -D "$tmp/head" -w '%{http_code}' -H "@$tmp/token" "$@"); then
    status=0
    return
  fi
  place=$(sed -n 's/^walferry-wal: *//Ip' "$tmp/head" | tr -d '\r')
  if [ -n "$place" ]; then
    for part in $(echo "$place" | tr '&' ' '); do
      case ${part%%=*} in
        salt1) held_salt1=${part#*=} ;; salt2) held_salt2=${part#*=} ;;
        offset) held_offset=${part#*=} ;; end) held_end=${part#*=} ;;
      esac
    done
  fi
  next=$(sed -n 's/^walferry-offset: *//Ip' "$tmp/head" | tr -d '\r')
  position=$(sed -n 's/^walferry-position: *//Ip' "$tmp/head" | tr -d '\r')
  if [ -n "$position" ]; then txid=${position%%/*}; fi
}

forget_place() { held_salt1= held_salt2= held_offset= held_end=; }

# Sends what there is of a file from where the Worker stands to a byte of the WAL. Fails if it takes nothing of it.
send() { # FILE, first byte of the WAL in it, end, and what else to say
  step=16777216
  while [ "$held_end" -lt "$3" ] || [ -n "$4" ]; do
    from=$held_offset before=$held_end
    if [ -n "$4" ]; then from=0 before=; fi
    length=$(($3 - from))
    if [ $length -gt $step ]; then length=$step; fi
    tail -c +$((from - $2 + 1)) "$1" | head -c $length >"$tmp/body"
    request -X POST --data-binary "@$tmp/body" -H 'Content-Type: application/octet-stream' \
      "$url/wal?salt1=$salt1&salt2=$salt2&offset=$from$4"
    case $status in
      200 | 201) ;;
      *) say "$status $(cat "$tmp/answer" 2>/dev/null)"; return 1 ;;
    esac
    if [ "$held_salt1/$held_salt2" = "$salt1/$salt2" ]; then set -- "$1" "$2" "$3" ''; fi
    if [ "$held_end" = "$before" ] || [ -n "$4" ]; then
      # A transaction that is longer than what was sent.
      if [ $length -lt $step ] || [ $step -ge 100000000 ]; then return 1; fi
      step=$((step * 2))
      if [ $step -gt 100000000 ]; then step=100000000; fi
    fi
  done
}

# Has the WAL copied back, and a reader on the database file that keeps it as it is. What was committed and not sent yet is
# kept aside first, for the next writer may start the WAL again.
freeze() {
  ask lock 'BEGIN IMMEDIATE;'
  if [ -n "$reply" ]; then return 1; fi
  begin "$spare"
  ask "$pin" 'COMMIT;'
  swap=$pin pin=$spare spare=$swap
  ask "$spare" 'PRAGMA wal_checkpoint(PASSIVE);'
  begin "$spare"
  if look && [ "$copied" -eq "$frames" ]; then
    ask "$pin" 'COMMIT;'
    swap=$pin pin=$spare spare=$swap
    rm -f "$tmp/rest"
    end=$((32 + frames * frame_length))
    if [ "${held_salt1:-}/${held_salt2:-}" = "$salt1/$salt2" ] && [ "$held_end" -lt $end ]; then
      rest=$held_offset
      tail -c +$((rest + 1)) "$db-wal" | head -c $((end - rest)) >"$tmp/rest"
    fi
    ask lock 'ROLLBACK;'
    return 0
  fi
  ask "$spare" 'COMMIT;'
  ask lock 'ROLLBACK;'
  return 1
}

# Sends the database file.
resync() {
  say 'sending the database file'
  forget_place
  freeze || return 1
  request "$url"
  [ "$status" = 200 ] || { say "$status $(cat "$tmp/answer" 2>/dev/null)"; return 1; }
  size=$(($(wc -c <"$db"))) offset=0 faults=0
  file="$url/db?after=$txid&salt1=$salt1&salt2=$salt2&frame=$frames&checksum1=$checksum1&checksum2=$checksum2&size=$size"
  while :; do
    tail -c +$((offset + 1)) "$db" | head -c "$piece" >"$tmp/body"
    request -T "$tmp/body" "$file&offset=$offset"
    case $status in
      200 | 201) certain=yes; return 0 ;;
      202) offset=$next faults=0; continue ;;
      413) say "$(cat "$tmp/answer")"; exit 1 ;;
    esac
    # What breaks off goes on where the Worker has come to; nothing of the file changes meanwhile.
    say "$status $(cat "$tmp/answer" 2>/dev/null)"
    faults=$((faults + 1))
    if [ $faults -gt 5 ]; then forget_place; return 1; fi
    case "$status/$next" in
      409/?*) offset=$next ;;
      0/ | 503/) sleep "$pause" ;;
      *) forget_place; return 1 ;;
    esac
  done
}

# Looks once, and ships what there is.
ship() {
  look || return 0
  if [ -z "$held_end" ]; then resync || true; return 0; fi
  if [ "$held_salt1/$held_salt2" = "$salt1/$salt2" ]; then
    said=
  elif [ $certain = yes ]; then
    if [ $frames -eq 0 ]; then return 0; fi
    said="&restarted_at=$held_end"
  else
    resync || true
    return 0
  fi
  end=$((32 + frames * frame_length))
  if ! send "$db-wal" 0 $end "$said"; then
    # What is wrong with the bytes does not pass by itself; all else does.
    case $status in 409 | 413 | 422) resync || true ;; esac
    return 0
  fi
  move $end
}

# Moves the read transaction to what is shipped. The old one ends only if the new one keeps what is not shipped.
move() {
  begin "$spare"
  sent=$frames was=$salt1
  if look && [ "$salt1" = "$was" ] && { [ "$frames" -eq "$sent" ] || [ "$copied" -lt "$sent" ]; }; then
    ask "$pin" 'COMMIT;'
    swap=$pin pin=$spare spare=$swap
    certain=yes
  else
    ask "$spare" 'COMMIT;'
    return 0
  fi
  if [ $sent -ge $enough ] && freeze && [ -e "$tmp/rest" ]; then
    until send "$tmp/rest" $rest $((32 + frames * frame_length)) ''; do
      case $status in 409 | 413 | 422) resync && return 0 ;; esac
      sleep "$pause"
    done
  fi
}

for name in a b lock; do
  ask $name '.timeout 5000'
  ask $name '.dbconfig no_ckpt_on_close on'
done
ask a 'PRAGMA journal_mode;'
if [ "$reply" != wal ]; then
  say "$db is not in WAL mode: PRAGMA journal_mode=wal"
  exit 1
fi
ask a 'PRAGMA page_size;'
frame_length=$((reply + 24))

forget_place
certain=no pin=a spare=b
begin $pin
until request "$url/wal" && [ "$status" = 200 ]; do
  say "$status $(cat "$tmp/answer" 2>/dev/null)"
  case $status in 4*) exit 1 ;; esac
  sleep "$pause"
done
while :; do
  ship
  sleep "$pause"
done
