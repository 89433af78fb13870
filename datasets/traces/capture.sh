#!/bin/sh
# Captures the traces of this folder again, about ten minutes: run it from the root of the repository, on Debian 12 (x86-64) with
#   apt-get install valgrind sqlite3 gzip gcc libc6-dev python3
# The data files come out byte for byte the same where these packages are the same; only the date in a sidecar moves.
set -eu

trace() {
  name=$1
  shift
  npx --yes deno@2.9.6 task trace -- --out "datasets/traces/$name" --force --clean-env "$@"
}

if [ $# -eq 0 ]; then set -- true sqlite3-join gzip-licenses cc1-wordcount python3-walk; fi
for wanted; do
  case $wanted in
  true)
    trace true --version-args --version \
      --input "none: what a program costs before and after its main function" \
      /bin/true
    ;;
  sqlite3-join)
    trace sqlite3-join --filter 32 --version-args --version \
      --input "two tables in memory, 2,000 customers and 10,000 orders, made and joined by the command itself" \
      sqlite3 :memory: "
CREATE TABLE customer(id INTEGER PRIMARY KEY, city INTEGER, note BLOB);
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, cents INTEGER, item BLOB);
INSERT INTO customer SELECT value, value*7919%97, zeroblob(3000) FROM generate_series(1,2000);
INSERT INTO orders SELECT value, value*7907%2000+1, value*104729%100000, zeroblob(400) FROM generate_series(1,10000);
SELECT city, count(*), sum(cents) FROM orders JOIN customer ON customer.id=orders.customer
  GROUP BY city ORDER BY 3 DESC LIMIT 5;"
    ;;
  gzip-licenses)
    cat /usr/share/common-licenses/*[0-9] |
      trace gzip-licenses --filter 32 --version-args --version \
        --input "230 kB of English on standard input: the licences of Debian's base-files 12.4+deb12u11" \
        --make "cat /usr/share/common-licenses/*[0-9]" \
        gzip -c
    ;;
  cc1-wordcount)
    # The compiler proper, as gcc -O1 -S starts it: gcc itself only starts others.
    trace cc1-wordcount --filter 64 --version-args "-version -o /dev/null" \
      --input "wordcount.c, 175 lines of C, and the headers of Debian's libc6-dev 2.36" \
      "$(gcc -print-prog-name=cc1)" -quiet -imultiarch x86_64-linux-gnu -O1 \
      datasets/traces/inputs/wordcount.c -o /dev/null
    ;;
  python3-walk)
    trace python3-walk --filter 64 --env PYTHONHASHSEED=0 --version-args --version \
      --input "a graph of 12,000 nodes as lists in a dict, made and walked by the command itself" \
      /usr/bin/python3 -B -S -s -c "
n = 12000
edge = {i: [i * 7919 % n, i * 104729 % n, str(i)] for i in range(n)}
at = 1
for step in range(n): at = edge[at][step % 2]
print(edge[at][2])"
    ;;
  *)
    echo "capture.sh: no such trace: $wanted" >&2
    exit 2
    ;;
  esac
done
