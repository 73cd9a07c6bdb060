//! The agent of a descriptor: its command line, its homes, its bad configurations.

use std::collections::BTreeMap;

use super::*;
use crate::{Stream, descriptor, open, tests::assignment};
use oodatcaa_config::{AgentConfig, AgentKind};
use oodatcaa_process::Ended;

fn config(adapter: &str) -> AgentConfig {
    AgentConfig { kind: AgentKind::Adapter, adapter: Some(adapter.into()), ..AgentConfig::default() }
}

fn argv(config: &AgentConfig, change: impl FnOnce(&mut Assignment)) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    change(&mut assignment);
    let root = dir.path().display().to_string();
    open("x", config).invocation(&assignment).argv.iter().map(|arg| arg.replace(&root, "ROOT")).collect()
}

#[test]
fn a_group_without_its_value_is_left_out() {
    let plain = argv(&config("claude"), |_| {});
    let expected = [
        "claude",
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--add-dir=ROOT/run/agent",
        "--permission-mode",
    ];
    assert_eq!(plain[..7], expected);
    assert_eq!(plain[7..], ["acceptEdits"]);
    let full = argv(&AgentConfig { model: Some("opus".into()), ..config("claude") }, |assignment| {
        assignment.resume = Some("5f3a".into());
    });
    assert_eq!(full[8..], ["--model", "opus", "--resume", "5f3a"]);
}

#[test]
fn codex_resumes_behind_its_options_and_reads_standard_input() {
    let all = AgentConfig {
        permissions: Some("all".into()),
        model: Some("gpt-5".into()),
        args: vec!["-c".into(), "x=1".into()],
        ..config("codex")
    };
    let argv = argv(&all, |assignment| {
        assignment.resume = Some("01a1".into());
    });
    let expected = ["codex", "exec", "--json", "--skip-git-repo-check", "-C", "ROOT", "--add-dir", "ROOT/run/agent"];
    assert_eq!(argv[..8], expected);
    assert_eq!(argv[8..10], ["-c", "analytics.enabled=false"]);
    let rest = ["--dangerously-bypass-approvals-and-sandbox", "-m", "gpt-5", "-c", "x=1", "resume", "01a1", "-"];
    assert_eq!(argv[10..], rest);
}

/// Calls with the permissions of a configuration, outside of our sandbox and inside.
fn permitted(adapter: &str, word: Option<&str>) -> [Vec<String>; 2] {
    let config = AgentConfig { permissions: word.map(String::from), ..config(adapter) };
    [false, true].map(|sandboxed| argv(&config, |assignment| assignment.sandboxed = sandboxed))
}

#[test]
fn inside_our_sandbox_the_programs_own_gives_way_and_what_it_must_ask_for_stays() {
    let has = |argv: &[String], word: &str| argv.iter().any(|argument| argument == word);
    for (adapter, word, outside, inside) in [
        ("claude", None, "acceptEdits", "--dangerously-skip-permissions"),
        ("claude", Some("edits"), "acceptEdits", "acceptEdits"),
        ("claude", Some("auto"), "auto", "auto"),
        ("claude", Some("plan"), "plan", "plan"),
        ("codex", None, "workspace-write", "--dangerously-bypass-approvals-and-sandbox"),
        ("codex", Some("edits"), "workspace-write", "--dangerously-bypass-approvals-and-sandbox"),
        ("codex", Some("auto"), "workspace-write", "--dangerously-bypass-approvals-and-sandbox"),
        ("gemini", None, "auto_edit", "yolo"),
        ("gemini", Some("plan"), "plan", "plan"),
        ("qwen", None, "auto-edit", "yolo"),
        ("qwen", Some("edits"), "auto-edit", "auto-edit"),
        ("opencode", None, "json", "--auto"),
    ] {
        let [without, within] = permitted(adapter, word);
        assert!(has(&without, outside), "{adapter} {word:?}: {without:?}");
        assert!(has(&within, inside), "{adapter} {word:?}: {within:?}");
        assert_eq!(has(&within, outside), outside == inside || outside == "json", "{adapter} {word:?}: {within:?}");
    }
    // Without a row for it there is nothing to put in the place of what it has.
    let [without, within] = permitted("copilot", None);
    assert_eq!(without, within);
}

#[test]
fn permissions_that_only_the_programs_own_sandbox_could_keep_are_refused_inside_ours() {
    let [without, within] = permitted("codex", Some("plan"));
    assert!(without.contains(&"read-only".into()));
    assert_eq!(within, Vec::<String>::new(), "nothing is executed");
    let plan = open("x", &AgentConfig { permissions: Some("plan".into()), ..config("codex") });
    assert_eq!(plan.problem(), None);
    let error = plan.problem_sandboxed().expect("refused").to_string();
    assert!(error.contains("`plan` is kept by its own sandbox"), "{error}");
    assert!(error.contains("`nested = true` in `[agents.x.sandbox]`"), "{error}");
    let dir = tempfile::tempdir().expect("a directory");
    let inside = Assignment { sandboxed: true, ..assignment(dir.path()) };
    let outcome = plan.outcome(&inside, &Exit::unknown(), None);
    assert!(matches!(&outcome, Outcome::Failed { class: Class::Config, .. }), "{outcome:?}");
    // Nobody asks for it by name: outside of our sandbox it would be everything.
    let named = open("x", &AgentConfig { permissions: Some("sandboxed".into()), ..config("codex") });
    let error = named.problem().expect("refused").to_string();
    assert_eq!(error, "use agent `x`: its permissions are `sandboxed`; its adapter has: all, auto, edits, plan");
}

/// Plays a session of codex that was recorded inside our sandbox, with its own sandbox on.
fn nested_codex(sandboxed: bool, record: impl FnOnce(&str) -> String) -> Outcome {
    let transcripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    let text = |name: &str| std::fs::read_to_string(transcripts.join(name)).expect("a transcript");
    let dir = tempfile::tempdir().expect("a directory");
    let assignment = Assignment { sandboxed, ..assignment(dir.path()) };
    let session = "01a22dae-adb3-73d1-aebe-7fcc598c58dd";
    let day = dir.path().join("codex/sessions/2026/11/30");
    std::fs::create_dir_all(&day).expect("made");
    std::fs::write(day.join("rollout-2026-11-30T18-00-00-another.jsonl"), "{}").expect("written");
    let record = record(&text("codex-nested.rollout.jsonl"));
    std::fs::write(day.join(format!("rollout-2026-11-30T18-19-12-{session}.jsonl")), record).expect("written");
    std::fs::write(assignment.run_dir.join("stdout.log"), text("codex-nested.jsonl")).expect("written");
    std::fs::write(assignment.run_dir.join("stderr.log"), "").expect("written");
    let home = dir.path().join("codex").display().to_string();
    let codex = open("mine", &AgentConfig { set: BTreeMap::from([("CODEX_HOME".into(), home)]), ..config("codex") });
    codex.outcome(&assignment, &Exit { ended: Ended::Exited(0), ..Exit::unknown() }, None)
}

#[test]
fn a_sandbox_that_broke_in_silence_is_found_in_the_programs_own_record_of_the_session() {
    let outcome = nested_codex(true, str::to_owned);
    let Outcome::Failed { class: Class::PermissionDenied, reason, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("bwrap: setting up uid map: Permission denied"), "{reason}");
    assert!(reason.contains("`nested = true` in `[agents.mine.sandbox]`"), "{reason}");
    // Without a namespace around it, it says this instead.
    let other = |all: &str| all.replace("bwrap: setting up uid map: ", "error building bubblewrap command: ");
    let outcome = nested_codex(true, other);
    assert!(matches!(&outcome, Outcome::Failed { class: Class::PermissionDenied, .. }), "{outcome:?}");
    // Where ours is not around it, there is nothing to nest.
    let outcome = nested_codex(false, str::to_owned);
    assert!(matches!(&outcome, Outcome::Failed { reason, .. } if !reason.contains("nested")), "{outcome:?}");
    // An earlier run of the same session is not this one, and a record that cannot be read says nothing.
    let begin = r#"{"type":"event_msg","payload":{"type":"task_started"}}"#;
    for outcome in [nested_codex(true, |all| format!("{all}{begin}\n")), nested_codex(true, |_| "no JSON\n".into())] {
        assert!(matches!(&outcome, Outcome::Done { .. }), "{outcome:?}");
    }
}

#[test]
fn a_name_that_could_be_an_option_or_a_template_is_none() {
    for bad in ["--dangerously", "a b", "{title}", "", "x\ny"] {
        let resumed = argv(&config("claude"), |assignment| assignment.resume = Some(bad.into()));
        assert_eq!(resumed.len(), 8, "{bad:?}: {resumed:?}");
        let model = AgentConfig { model: Some(bad.into()), ..config("claude") };
        assert_eq!(argv(&model, |_| {}), Vec::<String>::new(), "{bad:?}: nothing is executed");
        assert!(open("x", &model).problem().is_some(), "{bad:?}");
    }
}

#[test]
fn a_bad_configuration_executes_nothing_and_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let cli = open("x", &config("claud"));
    let assignment = assignment(dir.path());
    assert!(cli.invocation(&assignment).argv.is_empty());
    let exit = Exit::unknown();
    match cli.outcome(&assignment, &exit, None) {
        Outcome::Failed { class: Class::Config, reason, .. } => {
            assert!(reason.starts_with("cannot use agent `x`: cannot find the adapter `claud`; there are: acp, aider"));
        }
        other => panic!("{other:?}"),
    }
    let permissions = AgentConfig { permissions: Some("root".into()), ..config("claude") };
    let error = open("x", &permissions).problem().expect("unknown").to_string();
    assert_eq!(error, "use agent `x`: its permissions are `root`; its adapter has: all, auto, edits, plan");
}

#[test]
fn the_slots_home_holds_the_programs_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    // Not below /tmp, as far as a test can: the rule itself is tested by the path.
    assignment.home = Some(dir.path().join("home"));
    let gemini =
        open("x", &AgentConfig { set: BTreeMap::from([("GEMINI_API_KEY".into(), "k".into())]), ..config("gemini") });
    assert!(gemini.wants_home());
    gemini.prepare_home(&dir.path().join("home")).expect("a good slot");
    let env = gemini.invocation(&assignment).env;
    assert!(env["GEMINI_CLI_HOME"].starts_with(&*dir.path().to_string_lossy()));
    let settings = dir.path().join("home/gemini/.gemini/settings.json");
    assert!(std::fs::read_to_string(settings).expect("written").contains("maxAttempts"));
    assignment.home = Some("/tmp/x/home".into());
    let codex = open("x", &config("codex")).invocation(&assignment).env;
    assert!(codex.get("CODEX_HOME").is_none_or(|home| !home.starts_with("/tmp/x")), "its sandbox breaks there");
}

#[test]
fn the_pool_is_adapter_account_and_model() {
    let named = AgentConfig { model: Some("opus".into()), account: Some("work".into()), ..config("claude") };
    assert_eq!(open("x", &named).pool(), "claude/work/opus");
    assert_eq!(open("x", &config("codex")).pool(), "codex/default/default");
    // What an agent is reached by makes no account of its own.
    let spoken = AgentConfig { argv: vec!["/opt/bin/gemini".into(), "--experimental-acp".into()], ..config("acp") };
    assert_eq!(open("x", &spoken).pool(), "gemini/default/default");
}

fn watch(adapter: &str) -> Watcher {
    let dir = tempfile::tempdir().expect("a directory");
    open("x", &config(adapter)).watcher(&assignment(dir.path())).expect("a dialect")
}

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn class(watcher: &Watcher, now: Duration) -> Option<Class> {
    watcher.verdict(now).map(|(class, _)| class)
}

#[test]
fn silence_before_the_first_event_and_after_the_last_one_is_a_stall() {
    let mut claude = watch("claude");
    assert_eq!((class(&claude, at(59)), class(&claude, at(60))), (None, Some(Class::Silent)));
    assert_eq!(class(&claude, at(61)), Some(Class::Silent));
    claude.feed(Stream::Stdout, b"{\"type\":\"system\",\"subtype\":\"init\"}\n", at(62));
    claude.feed(Stream::Stdout, b"{\"type\":\"system\",\"subtype\":\"api_retry\",\"error\":\"rate_limit\"}\n", at(300));
    assert_eq!(class(&claude, at(361)), None);
    assert_eq!(class(&claude, at(362)), Some(Class::Silent), "a retry is no progress");
    claude.feed(Stream::Stderr, b"bytes are no progress\n", at(350));
    assert_eq!(class(&claude, at(362)), Some(Class::Silent));
}

#[test]
fn a_wait_that_is_worth_it_is_told_and_the_programs_own_words_are_no_answer_of_a_model() {
    let mut claude = watch("claude");
    let mut feed = |line: &str| {
        claude.feed(Stream::Stdout, format!("{line}\n").as_bytes(), at(1));
        (claude.waits().map(|until| (until - chrono::Utc::now()).num_seconds()), claude.seen().steps)
    };
    let retry = |code: u16, wait: &str| {
        format!(r#"{{"type":"system","subtype":"api_retry","retry_delay_ms":{wait},"error_status":{code}}}"#)
    };
    assert_eq!(feed(&retry(429, "519.05")), (None, 0), "its own backoff");
    assert_eq!(feed(&retry(529, "6000")), (None, 0), "not a limit of the account");
    let (wait, _) = feed(&retry(429, "6000"));
    assert!(matches!(wait, Some(5 | 6)), "{wait:?}");
    let said = r#"{"type":"assistant","message":{"id":"1","model":"<synthetic>","content":[{"type":"text","text":"API Error"}]}}"#;
    assert_eq!(feed(said).1, 0);
    assert_eq!(feed(&said.replace("<synthetic>", "m")).1, 1);
}

#[test]
fn a_refused_key_ends_the_run_at_once() {
    let mut claude = watch("claude");
    let line = b"{\"type\":\"system\",\"subtype\":\"api_retry\",\"error\":\"authentication_failed\"}\n";
    claude.feed(Stream::Stdout, line, at(1));
    let (class, words) = claude.verdict(at(1)).expect("a reason");
    assert_eq!(class, Class::AuthExpired);
    assert!(words.contains("claude /login"), "{words}");
    let mut gemini = watch("gemini");
    gemini.feed(Stream::Stderr, b"Attempt 1 failed with status 429. Retrying with backoff...\n", at(1));
    assert_eq!(gemini.verdict(at(1)).map(|(class, _)| class), Some(Class::RateLimited));
}

#[test]
fn steps_that_lead_nowhere_are_a_loop() {
    let mut opencode = watch("opencode");
    for step in 0..5 {
        assert_eq!(class(&opencode, at(step)), None, "{step}");
        opencode.feed(Stream::Stdout, b"{\"type\":\"step_start\"}\n{\"type\":\"step_finish\"}\n", at(step));
    }
    opencode.feed(Stream::Stdout, b"{\"type\":\"step_start\"}\n", at(5));
    assert_eq!(class(&opencode, at(5)), Some(Class::AgentFailed));
}

#[test]
fn a_program_that_waits_in_silence_when_its_service_limits_it_is_limited_and_not_silent() {
    let transcripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    for name in ["qwen-429.jsonl", "qwen-429ra.jsonl"] {
        let mut qwen = watch("qwen");
        let recorded = std::fs::read(transcripts.join(name)).expect("a transcript");
        qwen.feed(Stream::Stdout, &recorded, at(2));
        assert_eq!(class(&qwen, at(181)), None, "{name}");
        let (class, words) = qwen.verdict(at(183)).expect("a reason");
        assert_eq!((class, class.policy()), (Class::RateLimited, oodatcaa_core::outcome::Policy::Quota), "{name}");
        assert!(words.contains("no event of the model or a tool for 3m"), "{words}");
    }
}

#[test]
fn a_stream_that_is_cut_at_the_same_words_again_and_again_is_a_loop() {
    let step = |words: &str| {
        format!(
            "{{\"type\":\"step_start\"}}\n{{\"type\":\"text\",\"part\":{{\"text\":\"{words}\"}}}}\n\
             {{\"type\":\"step_finish\",\"part\":{{\"reason\":\"unknown\"}}}}\n"
        )
    };
    let mut opencode = watch("opencode");
    for n in 0..30 {
        opencode.feed(Stream::Stdout, step(&format!("words {n}")).as_bytes(), at(n));
        assert_eq!(class(&opencode, at(n)), None, "it says something new each time");
    }
    for n in 30..36 {
        opencode.feed(Stream::Stdout, step("I will now").as_bytes(), at(n));
    }
    opencode.feed(Stream::Stdout, b"{\"type\":\"step_start\"}\n", at(36));
    let (class, words) = opencode.verdict(at(36)).expect("a reason to end it");
    assert_eq!(class, Class::AgentFailed);
    assert!(words.contains("5 steps in a row without a tool and without new words"), "{words}");
}

#[test]
fn the_same_calls_again_and_again_are_a_loop() {
    let call = |command: &str| {
        let input = format!("{{\"command\":\"{command}\"}}");
        format!(
            "{{\"type\":\"step_start\"}}\n{{\"type\":\"tool_use\",\"part\":{{\"callID\":\"c\",\"tool\":\"bash\",\"state\":{{\"status\":\"completed\",\"input\":{input}}}}}}}\n"
        )
    };
    let mut opencode = watch("opencode");
    for second in 0..40 {
        let command = ["make", "make test"][second as usize % 2];
        opencode.feed(Stream::Stdout, call(command).as_bytes(), at(second * 10));
    }
    let detected = opencode.loops().expect("loop detection");
    assert_eq!((detected.class, detected.patience), (Class::AgentFailed, Duration::from_secs(300)));
    assert!(detected.words.starts_with("38 tool calls in a row") && detected.words.contains("`bash`"), "{detected:?}");
    assert_eq!(opencode.verdict(at(400)), None, "whether something changes, others see");
    opencode.feed(Stream::Stdout, call("make install").as_bytes(), at(401));
    assert_eq!(opencode.loops(), None, "something new");
}

#[test]
fn a_prompt_never_starts_like_a_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let assignment = assignment(dir.path());
    for (before, after) in [("/init\n", "# Task\n\n/init\n"), ("!rm -r x", "# Task\n\n!rm -r x"), ("# Fine", "# Fine")]
    {
        std::fs::write(assignment.prompt_file(), before).expect("written");
        open("x", &config("claude")).invocation(&assignment);
        assert_eq!(std::fs::read_to_string(assignment.prompt_file()).expect("there"), after);
    }
}

#[test]
fn a_result_file_has_its_say_about_a_success_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let assignment = assignment(dir.path());
    let exit = |code| Exit {
        ended: oodatcaa_process::Ended::Exited(code),
        stopped: None,
        millis: 1,
        leftovers: 0,
        output: [0, 0],
    };
    let claude = open("x", &config("claude"));
    let write = |name: &str, text: &str| std::fs::write(assignment.run_dir.join(name), text).expect("written");
    write("agent/result.json", r#"{"outcome":"replan","summary":"why"}"#);
    let end = |error: bool| {
        format!(
            "{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":{error},\"api_error_status\":429,\"num_turns\":1,\"result\":\"words\"}}\n"
        )
    };
    write("stdout.log", &end(false));
    assert_eq!(claude.outcome(&assignment, &exit(0), None).word(), "replan");
    write("stdout.log", &end(true));
    let failed = claude.outcome(&assignment, &exit(1), None);
    assert!(matches!(failed, Outcome::Failed { class: Class::RateLimited, .. }), "{failed:?}");
    // It had said its last word, and was ended because it stayed.
    write("stdout.log", &end(false));
    let lingered = Exit { stopped: Some(StopCause::Asked), ended: oodatcaa_process::Ended::Signalled(15), ..exit(0) };
    assert_eq!(claude.outcome(&assignment, &lingered, None).word(), "replan");
    std::fs::remove_file(assignment.result_file()).expect("removed");
    assert_eq!(claude.outcome(&assignment, &exit(0), None).words(), "words");
}

#[test]
fn every_adapter_that_can_resume_names_the_session() {
    let tails: &[(&str, &[&str])] = &[
        ("claude", &["--resume", "5f3a-01"]),
        ("codex", &["resume", "5f3a-01", "-"]),
        ("gemini", &["--resume", "5f3a-01"]),
        ("opencode", &["-s", "5f3a-01"]),
        ("qwen", &["--resume", "5f3a-01"]),
        ("copilot", &["--resume=5f3a-01"]),
        ("cursor-agent", &["--resume", "5f3a-01"]),
        ("acp", &["--resume", "5f3a-01", "--", "opencode", "acp"]),
    ];
    for (adapter, tail) in tails {
        let named = if *adapter == "acp" { vec!["opencode".into(), "acp".into()] } else { Vec::new() };
        let config = |adapter| AgentConfig { argv: named.clone(), ..config(adapter) };
        let argv = argv(&config(adapter), |assignment| assignment.resume = Some("5f3a-01".into()));
        assert!(argv.ends_with(&tail.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()), "{adapter}: {argv:?}");
        assert!(open("x", &config(adapter)).can_resume(), "{adapter}");
    }
    for (adapter, _) in descriptor::SHIPPED.iter().filter(|(name, _)| !tails.iter().any(|(known, _)| known == name)) {
        assert!(!open("x", &config(adapter)).can_resume(), "{adapter}: how it resumes is not tested");
    }
}

#[test]
fn figures_that_stand_in_a_file_are_read_and_count_from_the_sessions_begin() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    let cli = open("x", &config("copilot"));
    let run = |assignment: &Assignment, tokens: u64| {
        let usage = format!(r#"{{"modelMetrics":{{"m":{{"usage":{{"inputTokens":{tokens},"outputTokens":7}}}}}}}}"#);
        std::fs::create_dir_all(assignment.out_dir()).expect("made");
        std::fs::write(assignment.out_dir().join("usage.json"), usage).expect("written");
        let end = "{\"type\":\"result\",\"sessionId\":\"s\",\"exitCode\":0}\n";
        std::fs::write(assignment.run_dir.join("stdout.log"), end).expect("written");
        let mut watcher = cli.watcher(assignment).expect("a dialect");
        watcher.feed(Stream::Stdout, end.as_bytes(), at(1));
        watcher.finish(at(2));
        cli.outcome(assignment, &Exit { ended: oodatcaa_process::Ended::Exited(0), ..Exit::unknown() }, None);
        (watcher.seen().usage.tokens_in, watcher.seen().usage.tokens_out)
    };
    assignment.run_dir = dir.path().join("runs/1");
    assert_eq!(run(&assignment, 100), (Some(100), Some(7)));
    assignment.run_dir = dir.path().join("runs/2");
    assignment.resume = Some("s".into());
    assert_eq!(run(&assignment, 160), (Some(60), Some(0)));
    assert!(cli.invocation(&assignment).argv.contains(&assignment.out_dir().join("usage.json").display().to_string()));
}
