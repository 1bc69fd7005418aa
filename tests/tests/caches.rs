//! Servers that keep values: many threads, streams and datagrams side by side, and a child that saves under load.

use lab::SERVER;
use ringroad_tests::matrix::{program, same_on_both};

#[test]
fn memcached_serves_streams_and_datagrams_from_four_threads() {
    same_on_both("memcached", |stage| {
        let server = ["memcached", "-u", "nobody", "-t", "4", "-p", "11211", "-U", "11211", "-l", SERVER];
        let _memcached = stage.serve(&server, 11211);
        let said = stage.client.must(&["python3", &program("memcached_client.py"), SERVER, "11211"]);
        stage.assert_served_past_the_kernel();
        said
    });
}

/// BGSAVE forks while connections live: they stay the parent's, and the child touches none.
#[test]
fn redis_saves_in_a_child_while_it_serves() {
    same_on_both("redis-save", |stage| {
        let folder = stage.lab.folder().to_string_lossy().into_owned();
        let server =
            ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", &folder];
        let _redis = stage.serve(&server, 6379);
        let script = format!(
            "set -e; ask() {{ redis-cli -h {SERVER} \"$@\"; }}; \
             redis-benchmark -h {SERVER} -t set,get -n 40000 -r 5000 -c 20 -q > /dev/null & load=$!; \
             for n in 1 2 3; do ask bgsave; \
               until ask info persistence | grep -q rdb_bgsave_in_progress:0; do sleep 0.05; done; done; \
             wait $load && echo loaded; ask info persistence | grep -o 'rdb_last_bgsave_status:ok'; \
             ask set last one; ask get last"
        );
        let said = stage.client.run_for(60, &["bash", "-c", &script]).must();
        stage.assert_served_past_the_kernel();
        said
    });
}
