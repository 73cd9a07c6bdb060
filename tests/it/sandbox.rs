//! Attempts that cannot leave their room: what an agent with a shell tries there, and how it ends, with a namespace of
//! its own and with Landlock and seccomp alone, as an ordinary user.

pub(crate) mod room;

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::support::eventually;
use oodatcaa_agent::sandbox::Private;
use room::{From, Mode, Room, Try};

/// A file system that cannot be written, or what Landlock refuses.
const RO: &str = "Read-only file system";
const NO: &str = "ermission denied";

#[track_caller]
fn all(tries: &[Try]) {
    let room = Room::new();
    for mode in Mode::all() {
        room.tries(From::Agent, mode, tries);
    }
}

#[test]
fn what_is_the_agents_own_can_be_written() {
    all(&[
        ("echo x > own.txt", "", ""),
        ("echo x > $TMPDIR/own && cat $TMPDIR/own", "", ""),
        (
            "echo x > ${OODATCAA_RESULT_FILE%/*}/own && mv ${OODATCAA_RESULT_FILE%/*}/own ${OODATCAA_RESULT_FILE%/*}/other",
            "",
            "",
        ),
        ("echo x > /dev/null && cat $P/README.md $ROOM/home/.gitconfig", "", ""),
        ("git add -A && git commit -qm try && git log -1", "", ""),
        // It is told where, and what to do where that is not enough.
        ("grep 'you can write to `' $OODATCAA_RUN_DIR/prompt.md | grep /agent", "", ""),
        ("grep 'Do not try to get round it' $OODATCAA_RUN_DIR/prompt.md", "", ""),
    ]);
}

#[test]
fn the_projects_own_files_cannot_be_written() {
    let files = [
        ("echo x >> $P/.oodatcaa/work/SPRINT_QUEUE.json", RO, NO),
        ("echo x >> $P/.oodatcaa/config.toml", "Read-only file system|ermission denied", NO),
        ("echo x >> $P/.oodatcaa/prompts/builder.md", RO, NO),
        ("echo x >> $P/.git/config", RO, NO),
        ("echo x >> $P/.git/HEAD", RO, NO),
        ("echo x >> $P/.git/packed-refs", RO, NO),
        ("echo x >> $P/.git/refs/heads/main", RO, NO),
        ("echo x >> $P/.git/hooks/pre-commit", RO, NO),
        ("echo x >> $P/README.md", RO, NO),
    ];
    all(&files);
}

#[test]
fn what_the_user_runs_later_cannot_be_written() {
    all(&[
        ("echo x >> ~/.bashrc", RO, NO),
        ("echo x >> ~/.gitconfig", RO, NO),
        ("echo x > ~/.config/systemd/user/x.service", RO, NO),
        ("echo x >> ~/bin/git", RO, NO),
    ]);
}

#[test]
fn leases_locks_and_records_cannot_be_made_or_changed() {
    let refused = "Read-only file system|ermission denied";
    all(&[
        ("echo x > $P/.leases/new.json", refused, NO),
        ("echo x > $P/.locks/new", refused, NO),
        ("rm $P/.locks/queue.lock", "Read-only file system|No such file|ermission denied", NO),
        ("echo x >> $OODATCAA_RUN_DIR/attempt.json", refused, NO),
        ("echo x > $OODATCAA_RUN_DIR/exit.json", refused, NO),
        ("echo x >> $OODATCAA_RUN_DIR/shim.json", refused, NO),
        ("mkfifo $OODATCAA_RUN_DIR/gate-g.log", refused, NO),
        ("mkdir -p $P/.oodatcaa/runs/other/1", refused, NO),
        ("echo x > $OODATCAA_WORKSPACE/../other", refused, NO),
    ]);
}

#[test]
fn no_way_round_a_files_name_leads_to_it() {
    all(&[
        ("mv $Q .", "Read-only file system|ermission denied|cross-device", "ermission denied|cross-device"),
        ("ln $Q hard", "ross-device|Read-only", "ross-device|ermission denied"),
        ("truncate -s0 $Q", RO, NO),
        ("mv $P/.oodatcaa $P/x", "Read-only file system|ermission denied|busy", NO),
        ("ln -s $Q link && echo x >> link", RO, NO),
        ("echo x >> /proc/self/root$Q", RO, NO),
        ("echo x >> /proc/$WORKER/root$Q", "ermission denied", NO),
    ]);
}

#[test]
fn modes_and_times_of_other_files_stay_where_there_is_a_namespace() {
    all(&[
        ("chmod u+x $Q && chmod u-x $Q", RO, ""),
        ("touch -c $Q", RO, ""),
        ("python3 -c 'import os; os.setxattr(os.environ[\"Q\"], \"user.x\", b\"y\")'", "Read-only|not supported", ""),
    ]);
}

#[test]
fn secrets_cannot_be_read() {
    let gone = "No such file|ermission denied";
    all(&[
        ("cat ~/.ssh/id_ed25519", gone, NO),
        ("cat ~/.netrc", gone, NO),
        ("cat ~/.config/gh/hosts.yml", gone, NO),
        ("ln -s ~/.ssh/id_ed25519 key && cat key", gone, NO),
        ("cat /proc/self/root$HOME/.ssh/id_ed25519", gone, NO),
        ("cat /proc/$WORKER/root$HOME/.ssh/id_ed25519", gone, NO),
        ("ln ~/.ssh/id_ed25519 hard", "No such file|ross-device|ermission denied", "ross-device|ermission denied"),
        ("ls $P/.locks/queue.lock && cat $P/.locks/queue.lock", gone, NO),
        ("flock -n $P/.locks/queue.lock true", "No such file|ermission denied|Read-only", NO),
    ]);
}

#[test]
fn memory_and_environment_of_the_worker_cannot_be_read() {
    let no = "ermission denied|not permitted";
    all(&[
        ("cat /proc/$WORKER/environ", no, no),
        ("cat /proc/$SHIM/environ", no, no),
        ("head -c1 /proc/$WORKER/mem", no, no),
        ("nsenter -t $WORKER -m true", no, no),
        ("ls -l /proc/$WORKER/fd", no, no),
    ]);
}

#[test]
fn the_worker_cannot_be_signalled_or_slowed_down() {
    let no = "not permitted|ermission denied";
    all(&[
        ("kill -0 $WORKER", no, no),
        ("kill -CONT $SHIM", no, no),
        (
            "python3 -c 'import os, signal; signal.pidfd_send_signal(os.pidfd_open(int(os.environ[\"WORKER\"])), 0)'",
            no,
            no,
        ),
        ("prlimit --cpu=1 --pid $WORKER", no, no),
        ("renice 19 $WORKER", no, no),
        ("sleep 60 & kill $!", "", ""),
    ]);
}

#[test]
fn sockets_of_other_programs_cannot_be_connected_to() {
    let mut room = Room::new();
    let control = room.at("p/.agent-daemon-run/control.sock");
    room.listens(&control);
    let bus = Path::new("/run")
        .join(format!("{}.sock", room.at("x").parent().unwrap().file_name().unwrap().to_string_lossy()));
    let has_bus = rustix::process::geteuid().is_root();
    if has_bus {
        room.listens(&bus);
    }
    let connect = |at: &str| {
        let script = format!(
            "python3 -c 'import os, socket; socket.socket(socket.AF_UNIX).connect(os.path.expandvars(\"{at}\"))'"
        );
        &*Box::leak(script.into_boxed_str())
    };
    let tries = [
        (connect("$P/.agent-daemon-run/control.sock"), "No such file|ermission denied", "not permitted"),
        (connect(bus.to_str().unwrap()), "No such file|ermission denied", "not permitted"),
        (connect("\\0room"), "not permitted|refused", "not permitted"),
    ];
    for mode in Mode::all() {
        room.tries(From::Agent, mode, &tries);
    }
    let _ = fs::remove_file(bus);
}

#[test]
fn what_confines_a_program_cannot_be_undone_by_it() {
    let no = "ermission denied|not permitted|must be superuser|not mounted";
    all(&[
        ("unshare -Urm true", no, no),
        ("umount ~/.ssh", "ermission denied|not permitted|must be superuser|not mounted|no mount point", no),
        ("mount -t tmpfs none /mnt", no, no),
        ("mount -o remount,rw /", no, no),
    ]);
}

/// The recipe of docs/sandbox.md, to the letter.
#[test]
fn bwrap_around_an_agent_hides_other_processes_from_it() {
    let bwrap = Mode::all().contains(&Mode::Namespace).then(|| Command::new("bwrap").arg("--version").output());
    if bwrap.is_none_or(|output| output.is_err()) {
        return;
    }
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sandbox.md")).expect("the page");
    let recipe = page.lines().find(|line| line.starts_with("argv = [\"bwrap\"")).expect("a recipe");
    let (recipe, _) = recipe.rsplit_once("\"mine\"]").expect("around an agent");
    let mut room = Room::new();
    room.more = "[agents.mine.sandbox]\nnested = true\n".into();
    let tries = "echo x > own && git add -A && git commit -qm own; ls /proc | grep -c '^[0-9]'; \
                 echo x >> $OODATCAA_PROJECT/README.md; cat $HOME/.ssh/id_ed25519";
    room.config("auto", &BTreeMap::from([("agent", tries.to_owned())]));
    let text = fs::read_to_string(room.at("p/.oodatcaa/config.toml")).expect("there");
    let text = text.replace("[agents.mine]\nargv = [", &format!("[agents.mine]\n{recipe}"));
    fs::write(room.at("p/.oodatcaa/config.toml"), text).expect("written");
    room.queue("A");
    let output = room.once();
    assert_eq!(room.git(&["log", "-1", "--format=%s", "feat/A-make-it"]), "own", "{output:?}");
    let [said, refused] =
        ["stdout.log", "stderr.log"].map(|name| fs::read_to_string(room.run_dir("A").join(name)).expect(name));
    let processes: usize = said.trim().parse().expect("a number");
    assert!(processes < 10, "{said}");
    assert!(refused.contains(RO) && !said.contains("secret") && refused.contains("id_ed25519"), "{refused}");
}

#[test]
fn a_planner_looks_at_its_worktree_and_writes_nothing_there() {
    for mode in Mode::all() {
        let room = Room::new();
        let looks = "cat README.md; git log --oneline; echo x > planned; git commit -q --allow-empty -m no; \
                     echo '{\"outcome\":\"done\",\"summary\":\"s\"}' > $OODATCAA_RESULT_FILE";
        room.config(mode.word(), &BTreeMap::from([("agent", looks.to_owned())]));
        room.queue_of("A", "needs_plan");
        let output = room.once_as("planner");
        assert_eq!(room.task()["status"], "ready", "{}", String::from_utf8_lossy(&output.stderr));
        let said = fs::read_to_string(room.run_dir("A").join("stdout.log")).expect("a log");
        assert!(said.contains("hello") && said.contains("first"), "{said}");
        let refused = fs::read_to_string(room.run_dir("A").join("stderr.log")).expect("a log");
        let no = if mode == Mode::Namespace { RO } else { NO };
        assert!(refused.contains("planned") && refused.matches(no).count() >= 2, "{refused}");
    }
}

#[test]
fn the_memory_of_a_confined_tree_is_counted() {
    for mode in Mode::all() {
        let mut room = Room::new();
        room.more = "[roles.builder]\nmemory = \"100MiB\"\n".into();
        let fills = "python3 -c 'import time; x = bytearray(300 << 20); time.sleep(600)'";
        room.config(mode.word(), &BTreeMap::from([("agent", fills.to_owned())]));
        let text = fs::read_to_string(room.at("p/.oodatcaa/config.toml")).expect("there");
        let text = text.replacen("[roles.builder]\ngates = [\"g\"]\n", "", 1);
        fs::write(room.at("p/.oodatcaa/config.toml"), text).expect("written");
        room.queue("A");
        let output = room.once();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(log.contains("used more memory than the limit `memory` of its role"), "{mode:?}: {log}");
    }
}

#[test]
fn gates_are_confined_as_agents_are() {
    let room = Room::new();
    for mode in Mode::all() {
        room.tries(From::Gate, mode, COMMANDS);
    }
}

#[test]
fn the_projects_setup_is_confined_as_agents_are() {
    let room = Room::new();
    for mode in Mode::all() {
        room.tries(From::Setup, mode, COMMANDS);
    }
}

#[test]
fn the_projects_teardown_is_confined_as_agents_are() {
    let room = Room::new();
    for mode in Mode::all() {
        room.tries(From::Teardown, mode, COMMANDS);
    }
}

/// The tries of the project's own commands.
const COMMANDS: &[Try] = &[
    ("echo x > own.txt && rm own.txt", "", ""),
    ("echo x >> $Q", RO, NO),
    ("echo x >> ~/.bashrc", RO, NO),
    ("cat ~/.ssh/id_ed25519", "No such file", NO),
    ("kill -0 $WORKER", "not permitted", "not permitted"),
    ("prlimit --cpu=1 --pid $WORKER", "not permitted", "not permitted"),
];

#[test]
fn a_closed_network_leaves_a_program_its_own_servers() {
    let mut room = Room::new();
    let board = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = board.local_addr().expect("an address").port();
    let python = |script: &str| &*Box::leak(format!("python3 -c 'import socket as s; {script}'").into_boxed_str());
    let server = "l = s.create_server((\"127.0.0.1\", 0)); s.create_connection(l.getsockname(), 5)";
    let none = [
        (python(&format!("s.create_connection((\"127.0.0.1\", {port}), 5)")), "refused", "not permitted"),
        (python("s.create_connection((\"1.1.1.1\", 53), 5)"), "unreachable", "not permitted"),
        (python("s.socket(s.AF_INET, s.SOCK_DGRAM).sendto(b\"x\", (\"1.1.1.1\", 53))"), "unreachable", "not permitted"),
        (python(server), "", "not permitted"),
    ];
    room.more = "network = \"none\"\n".into();
    for mode in Mode::all() {
        room.tries(From::Agent, mode, &none);
    }
    let no = "not permitted|ermission denied|not supported|not implemented";
    let ports = [
        (python(&format!("s.create_connection((\"127.0.0.1\", {port}), 5)")), NO, NO),
        (python("s.socket(s.AF_INET, s.SOCK_STREAM, 262)"), no, no),
        (python(&format!("s.socket().sendto(b\"x\", 0x20000000, (\"127.0.0.1\", {port}))")), no, no),
        (python("s.socket().setsockopt(6, 30, 1)"), no, no),
        (python("s.socket(s.AF_INET, s.SOCK_DGRAM)"), no, no),
        (
            "python3 -c 'import ctypes, os; r = ctypes.CDLL(None, use_errno=True).syscall(425, 1, 0); assert r >= 0, os.strerror(ctypes.get_errno())'",
            no,
            no,
        ),
    ];
    room.more = format!("network = {{ ports = [{}] }}\n", if port == 9 { 10 } else { 9 });
    for mode in Mode::all() {
        room.tries(From::Agent, mode, &ports);
    }
}

#[test]
fn what_a_person_decides_cannot_be_decided_from_within() {
    let no = "only a human may decide|Read-only file system|ermission denied";
    all(&[
        ("$ROOM/bin/agentctl approve X", no, no),
        ("$ROOM/bin/agentctl config trust", no, no),
        ("$ROOM/bin/agentctl queue repair", no, no),
        ("$ROOM/bin/agentctl add t", no, no),
        ("env -i HOME=$HOME setsid -w $ROOM/bin/agentctl --project $P approve X", no, no),
        ("$ROOM/bin/agentctl status", "", ""),
    ]);
}

/// The harm that confinement prevents: a worker that runs what an agent left, or that waits for it.
#[test]
fn what_a_makefile_of_the_agents_does_in_a_gate_stays_in_its_worktree() {
    for mode in Mode::all() {
        let room = Room::new();
        let write = "printf 'all:\\n\\t-touch %s/PWN-GATE\\n\\ttouch inside\\n' \"$HOME\" > Makefile";
        let runs = BTreeMap::from([
            ("agent", write.to_owned()),
            ("gate", "make; test -e inside || test ! -e Makefile".to_owned()),
        ]);
        room.config(mode.word(), &runs);
        room.queue("A");
        let output = room.once();
        assert_eq!(room.task()["status"], "awaiting_test", "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!room.at("home/PWN-GATE").exists(), "{mode:?}");
        let log = fs::read_to_string(room.run_dir("A").join("gate-g.log")).expect("a log");
        assert!(log.contains("PWN-GATE") && (log.contains(RO) || log.contains(NO)), "{log}");
    }
}

#[test]
fn an_attempts_records_are_none_of_its_agents_business() {
    for mode in Mode::all() {
        let room = Room::new();
        let forge = "echo x > made; cd $OODATCAA_RUN_DIR; for f in exit.json shim.json attempt.json gate-g.log; do \
                     rm -f $f; mkfifo $f; echo forged > $f.new; mv $f.new $f; done; \
                     echo '{\"outcome\":\"done\",\"summary\":\"forged\"}' > result.json; exit 3";
        room.config(mode.word(), &BTreeMap::from([("agent", forge.to_owned())]));
        room.queue("A");
        let began = std::time::Instant::now();
        let output = room.once();
        let events = room.events("attempt.finished");
        assert_eq!(events[0]["data"]["class"], "agent_failed", "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!room.run_dir("A").join("result.json").exists());
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    }
}

#[test]
fn what_the_machine_cannot_keep_stops_the_role_before_anything_is_claimed() {
    let mut room = Room::new();
    room.more = "require = [\"files\", \"metadata\"]\n".into();
    room.config("landlock", &BTreeMap::from([("agent", "echo ran > $HOME/ran; echo ran > ran".to_owned())]));
    room.queue("A");
    let output = room.once();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(log.contains("metadata: it needs a namespace") && log.contains("agentctl doctor"), "{log}");
    assert!(!room.at("home/ran").exists());
    assert_eq!(room.task()["status"], "ready", "{log}");
    assert!(room.events("lease.acquired").is_empty());
}

#[test]
fn what_is_ended_before_it_is_confined_has_not_run() {
    let room = Room::new();
    let config = BTreeMap::from([("agent", "echo ran > $HOME/ran; echo ran > ran".to_owned())]);
    room.config("auto", &config);
    room.queue("A");
    let text = fs::read_to_string(room.at("p/.oodatcaa/config.toml")).expect("there");
    // Passed on by a variable of the agent's, as its environment holds nothing else.
    let text = text.replace("[roles.builder]", "[agents.mine.set]\nFAILPOINTS = \"confine=panic\"\n[roles.builder]");
    fs::write(room.at("p/.oodatcaa/config.toml"), text).expect("written");
    let output = room.once();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!room.at("home/ran").exists(), "{log}");
    let ended = room.events("attempt.finished");
    assert_eq!(ended[0]["data"]["class"], "sandbox", "{log}");
    assert_ne!(ended[0]["data"]["charged"], true);
}

#[test]
fn where_namespaces_are_refused_an_attempt_is_kept_by_what_is_left() {
    let room = Room::new();
    // Inside of this no mount can be made, and no namespace furnished.
    let outer = serde_json::json!({
        "require": [], "write": [room.dir(), "/dev/shm", "/tmp", "/var/tmp"], "private": [], "deny": [], "mask": [], "read": [],
        "network": "all", "namespace": false, "nested": false, "report": room.at("p/outer.json"),
    });
    fs::write(room.at("tries/outer.json"), outer.to_string()).expect("written");
    room.config(
        "auto",
        &BTreeMap::from([("agent", "echo ran > ran; echo x >> $OODATCAA_PROJECT/README.md".to_owned())]),
    );
    room.queue("A");
    let mut command = room.command("agent-daemon");
    command.arg("confine").arg(room.at("tries/outer.json")).arg("--").arg(room.at("bin/agent-daemon"));
    let output = command.args(["--role", "builder", "--once"]).output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let said =
        fs::read_to_string(room.run_dir("A").join("confined.json")).unwrap_or_else(|error| panic!("{error}: {log}"));
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&report["applied"], &report["means"]["namespace"]), (&true.into(), &false.into()), "{report}");
    assert!(report["refused"].as_str().is_some_and(|words| words.starts_with("failed to")), "{report}");
    assert_eq!(fs::read_to_string(room.at("p/README.md")).expect("there"), "hello\n");
}

/// A process that is killed at the end of this.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_confined_tree_is_known_stopped_and_gone_with_its_worker() {
    for mode in Mode::all() {
        let room = Room::new();
        let mark = 90_000 + std::process::id() % 10_000;
        let tree = format!("setsid sleep {mark} & (setsid sleep {mark} &) ; echo up > up; sleep {mark}");
        room.config(mode.word(), &BTreeMap::from([("agent", tree)]));
        room.queue("A");
        let up = || {
            let wanted = format!("sleep\0{mark}\0");
            let all = fs::read_dir("/proc").expect("listed").flatten();
            all.filter(|one| fs::read(one.path().join("cmdline")).is_ok_and(|line| line == wanted.as_bytes())).count()
        };
        let worker = room.command("agent-daemon").args(["--role", "builder"]).spawn().expect("it starts");
        let worker = Killed(worker);
        eventually("its tree is up", || (up() == 3).then_some(()));
        // A stop by name ends all of it.
        let stopped = room.command("agentctl").args(["run", "stop", "A", "--reason", "enough", "--yes"]).output();
        let stopped = stopped.expect("it runs");
        assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
        eventually("nothing of it is left", || (up() == 0).then_some(()));
        // So does the death of its worker.
        room.queue("B");
        eventually("the next is up", || (up() == 3).then_some(()));
        drop(worker);
        eventually("nothing of it is left", || (up() == 0).then_some(()));
        // Whoever gives its task back removes what was its own below /tmp.
        let private = Private::of(&room.run_dir("B"));
        let name = private.tmp().file_name().expect("a name").to_owned();
        let there = || fs::read_dir("/tmp").expect("listed").flatten().any(|user| user.path().join(&name).exists());
        assert!(there(), "it had a directory of its own");
        let output = room.once_as("tester");
        assert!(!there(), "{mode:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn who_is_kept_to_a_proxy_reaches_that_and_its_own_servers_alone() {
    use std::{
        io::{Read as _, Write as _},
        net::{Shutdown, TcpListener},
        thread,
    };
    if !Mode::all().contains(&Mode::Namespace) {
        return;
    }
    let [proxy, board] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [at, other] = [&proxy, &board].map(|listener| listener.local_addr().expect("bound").port());
    // The agent's and the gate's.
    let served = thread::spawn(move || {
        for connection in proxy.incoming().take(2) {
            let mut connection = connection.expect("a connection");
            connection.read_exact(&mut [0; 4]).expect("four bytes");
            connection.write_all(b"an answer").expect("written");
            connection.shutdown(Shutdown::Both).expect("ended");
        }
    });
    let mut room = Room::new();
    room.more = format!("network = {{ proxy = \"127.0.0.1:{at}\" }}\n");
    let asks = "python3 -c 'import os, socket; s = socket.create_connection((\"127.0.0.1\", int(os.environ[\"HTTPS_PROXY\"].rsplit(\":\", 1)[1])), 5); \
                s.sendall(b\"hey!\"); assert s.recv(99) == b\"an answer\"'";
    let board = format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {other}), 5)'");
    let board: &'static str = board.leak();
    let tries: [Try; 4] = [
        (asks, "", ""),
        (board, "refused", ""),
        ("python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 443), 5)'", "unreachable", ""),
        (
            "python3 -c 'import socket; s = socket.create_server((\"127.0.0.1\", 0)); socket.create_connection(s.getsockname(), 5)'",
            "",
            "",
        ),
    ];
    for who in [From::Agent, From::Gate] {
        room.tries(who, Mode::Namespace, &tries);
    }
    served.join().expect("both were served");
}

#[test]
fn git_that_reads_what_an_agent_made_may_do_nothing_else() {
    let room = Room::new();
    for mode in Mode::all() {
        room.tries(
            From::Git,
            mode,
            &[
                ("echo x >> $P/.oodatcaa/work/SPRINT_QUEUE.json", RO, NO),
                ("echo x >> $P/.git/config", RO, NO),
                ("echo x >> ~/.bashrc", RO, NO),
                ("cat ~/.ssh/id_ed25519", "No such file|ermission denied", NO),
                ("kill -0 $WORKER", "not permitted", "not permitted"),
                ("cat /proc/$WORKER/environ", "ermission denied|not permitted", "ermission denied|not permitted"),
            ],
        );
    }
}
