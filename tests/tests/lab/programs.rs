//! Real programs, each used directly and through its virtual IP: the client's output must be the same.

use std::fmt::Write as _;

use tabled::{builder::Builder, settings::Style};

use crate::{driver::Lab, manifests::SAMPLE, process::Running};

const SERVER_VM: &str = "server/0";
const CLIENT_VM: &str = "client/0";
const HOST: &str = "example-httpbin.server.programs.boshy";
/// These servers refuse to run as root.
const AS_VCAP: &str = "exec setpriv --reuid 1000 --regid 1000 --clear-groups";

/// A server packaged by Debian, and its client.
struct Program {
    name: &'static str,
    port: u16,
    /// Shell script in the server's VM; it stays in the foreground.
    serve: String,
    /// Shell script in the client's VM; `$host` and `$port` are the address. Its output is compared.
    ask: String,
}

impl Program {
    /// Its output goes to a file on the VM.
    fn start(&self, lab: &Lab) -> Running {
        lab.keeps_running(SERVER_VM, &format!("exec >/tmp/port-{}.log 2>&1\n{}", self.port, self.serve))
    }
}

#[test]
fn real_programs_see_no_difference_between_a_direct_connection_and_one_through_the_mesh() {
    let programs = programs();
    let lab = Lab::with(&manifest(&programs));
    let address = lab.address(SERVER_VM);
    let _servers: Vec<Running> = programs.iter().map(|program| program.start(&lab)).collect();
    for program in &programs {
        lab.eventually(&format!("{} listens", program.name), || {
            lab.holds(SERVER_VM, &format!("ss -Hltn 'sport = :{}' | grep -q .", program.port))
        });
    }

    let mut table = Builder::new();
    table.push_record(["program", "direct", "through the mesh", ""]);
    let mut differences = String::new();
    for program in &programs {
        let direct = answer(&lab, &address, program);
        let mesh = answer(&lab, HOST, program);
        let verdict = if direct == mesh { "same" } else { "DIFFERENT" };
        table.push_record([program.name, &direct, &mesh, verdict]);
        if direct != mesh {
            writeln!(differences, "{}:\n direct: {direct}\n mesh:   {mesh}", program.name).unwrap();
        }
        assert!(!direct.contains("exit status"), "{} does not work directly: {direct}", program.name);
    }
    println!("{}", table.build().with(Style::sharp()));
    assert_eq!(differences, "", "programs that see a difference");
}

/// The client's output and exit status.
fn answer(lab: &Lab, host: &str, program: &Program) -> String {
    let script = format!("host={host} port={}\n{}", program.port, program.ask);
    let output = lab.run(["exec", CLIENT_VM, "--", "timeout", "120", "bash", "-euc", &script]);
    let mut answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        write!(answer, "\nexit status {:?}\n{}", output.status.code(), String::from_utf8_lossy(&output.stderr))
            .unwrap();
    }
    answer
}

fn manifest(programs: &[Program]) -> String {
    let (head, _) = SAMPLE.split_once("instance_groups:").unwrap();
    let group = |name: &str, exposed: &str| {
        format!(
            "- name: {name}\n  azs: [z1]\n  instances: 1\n  vm_type: default\n  stemcell: default\n  networks:\n  - name: default\n  \
             jobs:\n  - name: example-httpbin\n    release: istio\n    properties:\n      port: 9001\n{exposed}"
        )
    };
    let exposed = programs.iter().fold("    expose_ports:\n".to_owned(), |mut text, Program { port, .. }| {
        writeln!(text, "    - name: port-{port}\n      number: {port}").unwrap();
        text
    });
    let groups = group("client", "") + &group("server", &exposed);
    format!("{head}instance_groups:\n{groups}").replace("sample-deployment", "programs")
}

/// A Python program with its arguments.
fn python(program: &str, arguments: &str) -> String {
    format!("exec /usr/bin/python3 - {arguments} <<'PROGRAM'\n{program}\nPROGRAM\n")
}

fn programs() -> Vec<Program> {
    vec![
        postgresql(),
        mariadb(),
        redis(),
        Program {
            name: "NATS",
            port: 4222,
            serve: format!("{AS_VCAP} nats-server --addr 0.0.0.0 --port 4222"),
            ask: python(include_str!("programs/nats_client.py"), "$host $port"),
        },
        Program {
            name: "gRPC",
            port: 50051,
            serve: python(include_str!("programs/grpc_server.py"), "50051"),
            ask: python(include_str!("programs/grpc_client.py"), "$host $port"),
        },
        Program {
            name: "HTTP/2, prior knowledge",
            port: 8082,
            serve: "mkdir -p /tmp/h2 && head -c 3000000 /dev/zero >/tmp/h2/file && exec nghttpd --no-tls -d /tmp/h2 8082".to_owned(),
            ask: "curl -sS --http2-prior-knowledge -w '%{http_version} %{http_code}\\n' http://$host:$port/file | sha256sum
                  curl -sS --http2-prior-knowledge -o /dev/null -w '%{http_version} %{http_code}\\n' http://$host:$port/none
                  h2load -n 2000 -c 10 -m 20 http://$host:$port/file | grep -E '^(requests|status codes):'"
                .to_owned(),
        },
        Program {
            name: "WebSocket",
            port: 8083,
            serve: python(include_str!("programs/websocket_server.py"), "8083"),
            ask: python(include_str!("programs/websocket_client.py"), "$host $port"),
        },
        nginx(),
    ]
}

fn postgresql() -> Program {
    Program {
        name: "PostgreSQL",
        port: 5432,
        serve: format!(
            "mkdir /tmp/pg && chown 1000:1000 /tmp/pg && {AS_VCAP} sh -c '
             bin=$(dirname $(ls /usr/lib/postgresql/*/bin/initdb | tail -n 1))
             $bin/initdb -D /tmp/pg/data --auth trust -U mesh >/tmp/pg/initdb.log &&
             echo \"host all all 0.0.0.0/0 trust\" >>/tmp/pg/data/pg_hba.conf &&
             exec $bin/postgres -D /tmp/pg/data -h 0.0.0.0 -k /tmp/pg'"
        ),
        ask: "export PGHOST=$host PGPORT=$port PGUSER=mesh PGDATABASE=postgres
              until pg_isready -q; do sleep 0.1; done
              pgbench -i -s 1 -q 2>/dev/null
              pgbench -C -c 4 -t 50 -n 2>/dev/null | grep -E 'processed|failed'
              pgbench -c 4 -t 250 -n 2>/dev/null | grep -E 'processed|failed'
              psql -Atc 'select sum(n), md5(string_agg(n::text, $$,$$)) from generate_series(1, 200000) n'
              timeout -s INT 1 psql -c 'select pg_sleep(60)' 2>&1 | grep ERROR
              seq 1 50000 | psql -Atc 'create temporary table t(n int)' -c 'copy t from stdin' -c 'select sum(n) from t'"
            .to_owned(),
    }
}

fn mariadb() -> Program {
    Program {
        name: "MariaDB",
        port: 3306,
        serve: format!(
            "mkdir /tmp/my && chown 1000:1000 /tmp/my && {AS_VCAP} sh -c '
             mariadb-install-db --no-defaults --datadir=/tmp/my/data --auth-root-authentication-method=normal >/tmp/my/install.log 2>&1 &&
             printf \"create user mesh@\\\"%%\\\";\\ngrant all on *.* to mesh@\\\"%%\\\";\\n\" >/tmp/my/users.sql &&
             exec mariadbd --no-defaults --datadir=/tmp/my/data --socket=/tmp/my/socket --bind-address=0.0.0.0 --port=3306 \
               --skip-name-resolve --init-file=/tmp/my/users.sql'"
        ),
        ask: "ask() { mariadb --no-defaults --skip-ssl -h $host -P $port -u mesh -N -B -D test \"$@\"; }
              until ask -e 'select 1' >/dev/null 2>&1; do sleep 0.1; done
              ask -e 'select count(*), md5(group_concat(seq)) from seq_1_to_1000'
              ask -e 'create or replace table t(n int); insert into t select seq from seq_1_to_100000; select sum(n) from t'
              ask -e 'select seq from seq_1_to_300000' | sha256sum
              for i in $(seq 50); do ask -e \"select $i\"; done | sha256sum
              ask -e 'select nonsense' 2>&1 | grep -o 'ERROR [0-9]*' || true"
            .to_owned(),
    }
}

fn redis() -> Program {
    Program {
        name: "Redis",
        port: 6379,
        serve: format!("{AS_VCAP} redis-server --bind 0.0.0.0 --port 6379 --protected-mode no --save '' --dir /tmp"),
        ask: "redis-cli -h $host -p $port flushall
              seq 20000 | sed 's/.*/SET key& value&/' | redis-cli -h $host -p $port --pipe | tail -n 1
              redis-cli -h $host -p $port dbsize
              redis-cli -h $host -p $port get key12345
              redis-benchmark -h $host -p $port -n 5000 -c 50 -q -t set,lpush 2>&1 | tr '\\r' '\\n' | grep -c 'requests per second'
              redis-cli -h $host -p $port blpop nothing 1
              redis-cli -h $host -p $port nonsense"
            .to_owned(),
    }
}

/// Uploads of a gigabyte, and uploads that are refused while being sent: once with the rest read, once with a reset.
fn nginx() -> Program {
    Program {
        name: "HTTP: 1 GB upload, early 413",
        port: 8084,
        serve: "mkdir -p /var/lib/nginx /tmp/web/temp /tmp/web/small /tmp/web/strict
                echo '
                daemon off; pid /tmp/web/pid; error_log /dev/null; worker_processes 1; user root;
                events { worker_connections 1024; }
                http {
                  access_log off; client_body_temp_path /tmp/web/temp;
                  server {
                    listen 8084; root /tmp/web;
                    location / { dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 2g; }
                    location /small { dav_methods PUT; client_max_body_size 1k; }
                    location /strict { dav_methods PUT; client_max_body_size 1k; lingering_close off; }
                  }
                }' >/tmp/web/conf
                exec nginx -p /tmp/web -c /tmp/web/conf"
            .to_owned(),
        ask: "put() { curl -sS -o /dev/null -w '%{http_code}\\n' -T - \"http://$host:$port/$1\"; }
              head -c 1000000000 /dev/zero | put large
              curl -sS http://$host:$port/large | sha256sum
              curl -sS -o /dev/null -w '%{http_code}\\n' -X DELETE http://$host:$port/large
              head -c 300000 /dev/zero >/tmp/upload
              for path in small strict; do
                for i in $(seq 30); do
                  curl -sS -o /dev/null -w '%{http_code}\\n' -H 'Expect:' -T /tmp/upload http://$host:$port/$path/file 2>/dev/null || true
                done | sort | uniq -c
              done"
            .to_owned(),
    }
}
