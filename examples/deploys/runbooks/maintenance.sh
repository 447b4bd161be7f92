#!/bin/sh
# Usage: maintenance.sh on|off|undo-on|undo-off ENV SERVICE [NOTE]
#        maintenance.sh preview on|off ENV SERVICE [NOTE]
#
# A service is closed while the file `maintenance` lies beside its link; the file's text is what visitors read.
set -eu

fail() {
  echo "$1" >&2
  exit 1
}

preview() {
  is_closed=off
  [ ! -e "$closed" ] || is_closed=on
  [ "$is_closed" != "$1" ] || fail "Maintenance of $service in $env is $1 already."
  if [ "$1" = on ]; then
    printf '%s in %s: open -> closed\nVisitors read: %s\n' "$service" "$env" "$note"
  else
    printf '%s in %s: closed -> open\nVisitors read until now: %s\n' "$service" "$env" "$(cat "$closed")"
  fi
}

close() {
  printf '%s\n' "$note" > "$closed.new"
  mv -f "$closed.new" "$closed"
}

open_again() {
  [ ! -e "$closed" ] || mv -f "$closed" "$closed.last"
}

close_again() {
  [ ! -e "$closed.last" ] || mv -f "$closed.last" "$closed"
}

verb=$1
shift
asked=$verb
if [ "$verb" = preview ]; then
  asked=$1
  shift
fi
env=$1
service=$2
note=${3:-}
closed="$SITE/$env/$service/maintenance"
[ -d "${closed%/*}" ] || fail "$service does not run in $env."

case $verb in
  preview) preview "$asked" ;;
  on) close ;;
  off | undo-on) open_again ;;
  undo-off) close_again ;;
  *) fail "maintenance.sh: $verb is not one of on, off, undo-on, undo-off, preview." ;;
esac
[ "$verb" = preview ] || echo "$verb: $service in $env is now $([ -e "$closed" ] && echo closed || echo open)"
