#!/bin/sh
# Usage: clear-cache.sh SERVICE
set -eu

cache="$SITE/cache/$1"
set -- "$cache"/*.html.gz
[ -e "$1" ] || set --

total=$#
removed=0
for copy in "$@"; do
  rm -f -- "$copy"
  removed=$((removed + 1))
  echo "::progress $removed/$total ${copy##*/}"
done
echo "$removed copies removed from $cache"
echo "::result {\"removed\": $removed}"
