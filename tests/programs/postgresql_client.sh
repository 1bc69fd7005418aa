#!/bin/bash
# What PostgreSQL at $1 answers to $2/pgbench and psql: each connection is a process of its own there, a big answer
# fills windows, a copy goes the other way, and a process that is ended says so.
set -euo pipefail
to="-h $1 -U postgres postgres"
sql() { psql -X -A -t -q -v ON_ERROR_STOP=1 $to "$@"; }
bench() { "$pgbench" -n "$@" $to | grep -e 'actually processed' -e 'failed trans'; }
pgbench=$2/pgbench

"$pgbench" -q -i -s 1 $to 2> /dev/null
bench -c 8 -j 2 -t 200
bench -C -S -c 4 -t 25
# More at once than find a place of their own in the port.
bench -S -c 80 -j 2 -t 10
sql -c 'select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) from pgbench_history'
sql -c 'select repeat(md5(n::text), 8) from generate_series(1, 40000) n' | sha256sum
seq 1 200000 | sql -c 'create table copied (n int)' -c 'copy copied from stdin'
sql -c 'select count(*), sum(n) from copied'
sql -c 'select pg_terminate_backend(pg_backend_pid())' 2>&1 | grep -o 'terminating connection' || true
