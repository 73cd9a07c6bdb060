//! Programs that are kept to a proxy: they reach it and their own servers, and nothing else.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use oodatcaa_process::confine::{Guarantee, Network, Profile};

use super::{
    confined::{Room, has_namespaces},
    *,
};

/// Runs a program as an attempt, confined; what it wrote, and how it ended.
fn attempted(room: &Room, mut profile: Profile, argv: &[&str]) -> (Ended, String) {
    let out = room.at("out");
    fs::write(out.join("prompt.md"), "the prompt\n").unwrap();
    let invocation = Invocation {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: BTreeMap::from([("PATH".into(), std::env::var("PATH").unwrap())]),
        cwd: room.at("wt"),
        stdin: Some(out.join("prompt.md")),
        stdout: out.join("stdout.log"),
        stderr: out.join("stderr.log"),
        confine: Some(profile.write(&out).unwrap()),
    };
    let attempt = Attempt::start(Path::new(SHIM), &out, &invocation, &limits()).unwrap();
    loop {
        match attempt.reports().recv_timeout(PATIENCE).unwrap() {
            Report::Started { .. } => {}
            Report::Ended(exit) => {
                let text = |name: &str| fs::read_to_string(out.join(name)).unwrap();
                return (exit.ended, text("stdout.log") + &text("stderr.log"));
            }
        }
    }
}

/// Asks at a port, and says what came back.
const ASKS: &str = "
import socket, sys
print('read', sys.stdin.read().strip())
for port in map(int, sys.argv[1:]):
    try:
        with socket.create_connection(('127.0.0.1', port), 5) as asked:
            asked.sendall(b'CONNECT\\n')
            asked.shutdown(socket.SHUT_WR)
            print('got', asked.makefile().read())
    except OSError as error:
        print('error', error)
try:
    socket.create_connection(('192.0.2.1', 443), 5)
except OSError as error:
    print('error', error)
";

#[test]
fn who_is_kept_to_a_proxy_reaches_it_and_nothing_else() {
    let room = Room::of("/var/tmp", false);
    let [proxy, board] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [at, other] = [&proxy, &board].map(|listener| listener.local_addr().unwrap());
    let served = thread::spawn(move || {
        for connection in proxy.incoming().take(2) {
            let (mut connection, mut said) = (connection.unwrap(), String::new());
            connection.read_to_string(&mut said).unwrap();
            write!(connection, "{} through {}", said.trim(), "x".repeat(200_000)).unwrap();
        }
    });
    let kept = |namespace| Profile { network: Network::Proxy(at), ..room.profile(namespace) };
    let ports = [at, at, other].map(|at| at.port().to_string());
    let argv: Vec<&str> = ["python3", "-c", ASKS].into_iter().chain(ports.iter().map(String::as_str)).collect();
    let (ended, said) = attempted(&room, kept(false), &argv);
    assert_eq!(ended, Ended::Exited(125), "{said}");
    assert!(room.report().error.unwrap().contains("needs a namespace"), "{said}");
    if has_namespaces() {
        for log in ["stdout.log", "stderr.log"] {
            fs::remove_file(room.at("out").join(log)).unwrap();
        }
        let (ended, said) = attempted(&room, kept(true), &argv);
        assert_eq!(ended, Ended::Exited(0), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "read the prompt");
        for line in &lines[1..3] {
            assert!(line.starts_with("got CONNECT through x") && line.len() > 200_000, "{}", line.len());
        }
        assert!(lines[3].contains("refused") && lines[4].contains("unreachable"), "{:?}", &lines[3..]);
        assert!(room.report().guarantees.contains(&Guarantee::Network));
        served.join().unwrap();
    }
}

#[test]
fn connections_to_a_proxy_end_with_the_attempt_and_only_so_many_are_open() {
    if !has_namespaces() {
        return;
    }
    let room = Room::of("/var/tmp", false);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = proxy.local_addr().unwrap();
    // It takes everybody on and never answers.
    let opened = thread::spawn(move || {
        let mut all: Vec<_> = (0..128).map(|_| proxy.accept().unwrap().0).collect();
        all.iter_mut().for_each(|one| assert_eq!(one.read(&mut [0]).unwrap_or(0), 0, "it ends"));
        proxy.set_nonblocking(true).unwrap();
        proxy.accept().is_err()
    });
    let script = format!(
        "import socket\nall = [socket.create_connection(('127.0.0.1', {0}), 5) for _ in range(150)]\n\
         last = all[-1]\nlast.settimeout(20)\nprint('ended', last.recv(1))",
        at.port()
    );
    let profile = Profile { network: Network::Proxy(at), ..room.profile(true) };
    let (ended, said) = attempted(&room, profile, &["python3", "-c", &script]);
    assert_eq!((ended, said.trim()), (Ended::Exited(0), "ended b''"));
    assert!(opened.join().unwrap(), "no more than were allowed");
}
