//! Every transcript of a real program, and whatever else a stream may hold.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    cli::judge,
    descriptor::{self, Descriptor},
    failure::Failure,
};
use oodatcaa_process::Ended;

fn adapter(name: &str) -> Descriptor {
    descriptor::load(name, &BTreeMap::new()).expect("ships")
}

fn transcript(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(descriptor: &Descriptor, stdout: &[u8], stderr: &[u8]) -> Reader {
    let mut reader = Reader::new(Arc::new(descriptor.clone()));
    reader.feed(Stream::Stdout, stdout, Duration::ZERO);
    reader.feed(Stream::Stderr, stderr, Duration::ZERO);
    reader.finish(Path::new("/nonexistent"), Duration::ZERO);
    reader
}

/// What a transcript must come to. An empty failure is a success.
struct Expected {
    file: &'static str,
    code: i32,
    failure: Option<Failure>,
    tokens: Option<(u64, u64)>,
    text: Option<&'static str>,
}

const DONE: &str = "Done. The task is complete (mock).";

const fn good(file: &'static str, tokens: (u64, u64)) -> Expected {
    Expected { file, code: 0, failure: None, tokens: Some(tokens), text: Some(DONE) }
}

const fn bad(file: &'static str, code: i32, failure: Failure) -> Expected {
    Expected { file, code, failure: Some(failure), tokens: None, text: None }
}

use Failure as F;

/// Every transcript of a real program, with the exit code that was measured.
const TRANSCRIPTS: &[Expected] = &[
    good("claude-text.jsonl", (1_234, 56)),
    good("claude-write.jsonl", (3_702, 168)),
    bad("claude-401.jsonl", 1, F::Auth),
    bad("claude-403.jsonl", 1, F::Forbidden),
    bad("claude-404.jsonl", 1, F::ModelUnavailable),
    bad("claude-429.jsonl", 1, F::RateLimited),
    bad("claude-429ra.jsonl", 1, F::RateLimited),
    bad("claude-500.jsonl", 1, F::ProviderError),
    Expected { tokens: Some((100_000, 20_000)), ..bad("claude-budget.jsonl", 1, F::BudgetExceeded) },
    // What its own sandbox says inside ours, with a namespace and without one.
    Expected { tokens: Some((4_936, 224)), ..bad("claude-nested.jsonl", 0, F::SandboxBroken) },
    Expected { tokens: Some((4_936, 224)), ..bad("claude-nested-sockets.jsonl", 0, F::SandboxBroken) },
    bad("claude-ctx.jsonl", 1, F::ContextOverflow),
    Expected { tokens: Some((2_468, 112)), ..bad("claude-dontask.jsonl", 0, F::ToolDenied) },
    Expected { tokens: Some((2_468, 112)), ..bad("claude-maxturns.jsonl", 1, F::TurnLimit) },
    Expected { tokens: Some((2_468, 112)), ..bad("claude-perm.jsonl", 0, F::ToolDenied) },
    good("codex-text.jsonl", (1_234, 56)),
    good("codex-write.jsonl", (2_468, 112)),
    // Its own sandbox broke, of which its output says nothing; its record of the session does.
    Expected { text: Some("Done."), ..good("codex-nested.jsonl", (4_936, 224)) },
    bad("codex-401.jsonl", 1, F::Auth),
    bad("codex-403.jsonl", 1, F::Forbidden),
    bad("codex-404.jsonl", 1, F::ModelUnavailable),
    bad("codex-429.jsonl", 1, F::RateLimited),
    bad("codex-429ra.jsonl", 1, F::RateLimited),
    bad("codex-500.jsonl", 1, F::Overloaded),
    bad("codex-ctx.jsonl", 1, F::ContextOverflow),
    good("gemini-text.jsonl", (1_234, 56)),
    good("gemini-write.jsonl", (2_468, 112)),
    bad("gemini-401.jsonl", 144, F::Auth),
    bad("gemini-403.jsonl", 147, F::Forbidden),
    bad("gemini-404.jsonl", 1, F::ModelUnavailable),
    bad("gemini-429.jsonl", 173, F::RateLimited),
    bad("gemini-429ra.jsonl", 173, F::RateLimited),
    bad("gemini-500.jsonl", 244, F::ProviderError),
    bad("gemini-ctx.jsonl", 144, F::ContextOverflow),
    Expected { tokens: Some((2_468, 112)), ..bad("gemini-maxturns.jsonl", 53, F::TurnLimit) },
    // Another form of output than the one that is asked for.
    bad("gemini-write-json.json", 0, F::Protocol),
    good("opencode-text.jsonl", (1_234, 56)),
    good("opencode-write.jsonl", (2_468, 112)),
    bad("opencode-401.jsonl", 1, F::Auth),
    bad("opencode-403.jsonl", 1, F::Forbidden),
    bad("opencode-404.jsonl", 1, F::ModelUnavailable),
    bad("opencode-429.jsonl", 1, F::RateLimited),
    bad("opencode-429ra.jsonl", 1, F::RateLimited),
    bad("opencode-500.jsonl", 1, F::ProviderError),
    bad("opencode-ctx.jsonl", 1, F::ContextOverflow),
    Expected { tokens: Some((1_234, 56)), ..bad("opencode-perm-ask.jsonl", 0, F::ToolDenied) },
    good("qwen-text.jsonl", (2_468, 112)),
    good("qwen-write.jsonl", (2_468, 112)),
    bad("qwen-401.jsonl", 0, F::Auth),
    bad("qwen-403.jsonl", 0, F::Forbidden),
    bad("qwen-404.jsonl", 0, F::ModelUnavailable),
    // It never ended; the stall limit ends it.
    bad("qwen-429.jsonl", 0, F::Protocol),
    bad("qwen-429ra.jsonl", 0, F::Protocol),
    bad("qwen-500.jsonl", 0, F::ProviderError),
    Expected { tokens: Some((1_234, 56)), ..bad("qwen-ctx.jsonl", 0, F::ContextOverflow) },
    Expected { tokens: Some((2_468, 112)), ..bad("qwen-maxturns.jsonl", 53, F::TurnLimit) },
    bad("qwen-noauth.jsonl", 1, F::Auth),
    Expected { tokens: None, ..good("copilot-text.jsonl", (0, 0)) },
    Expected { tokens: None, ..good("copilot-write.jsonl", (0, 0)) },
    bad("copilot-401.jsonl", 1, F::Auth),
    bad("copilot-403.jsonl", 1, F::Forbidden),
    bad("copilot-404.jsonl", 1, F::ModelUnavailable),
    bad("copilot-429.jsonl", 1, F::RateLimited),
    bad("copilot-429ra.jsonl", 1, F::RateLimited),
    bad("copilot-500.jsonl", 1, F::ProviderError),
    bad("copilot-ctx.jsonl", 1, F::ContextOverflow),
    bad("copilot-perm.jsonl", 0, F::ToolDenied),
    bad("copilot-noauth.stderr.txt", 1, F::Auth),
    Expected { text: None, ..good("aider-text.txt", (1_200, 56)) },
    Expected {
        text: Some("Commit 637abd3 Done. The task is complete (mock)."),
        ..good("aider-write.txt", (1_200, 56))
    },
    bad("aider-401.txt", 0, F::Auth),
    bad("aider-403.txt", 0, F::Forbidden),
    bad("aider-404.txt", 0, F::ModelUnavailable),
    bad("aider-429.txt", 0, F::RateLimited),
    bad("aider-429ra.txt", 0, F::RateLimited),
    bad("aider-500.txt", 0, F::ProviderError),
    bad("aider-ctx.txt", 0, F::ContextOverflow),
    Expected { text: Some("Done."), ..good("acp-gemini-write.jsonl", (2_468, 112)) },
    Expected { tokens: Some((2_468, 112)), ..bad("acp-gemini-denied.jsonl", 0, F::ToolDenied) },
    bad("acp-gemini-401.jsonl", 1, F::Auth),
    bad("acp-gemini-429.jsonl", 1, F::RateLimited),
    // The figures of its last request, as it tells them.
    Expected { text: Some("Done."), ..good("acp-opencode-write.jsonl", (1_234, 56)) },
    bad("acp-opencode-401.jsonl", 1, F::Auth),
    // It waits for ever; the early rule sees it.
    bad("amp-noauth.txt", 143, F::Auth),
];

fn state(expected: &Expected) -> Reader {
    let adapter = adapter(expected.file.split('-').next().expect("a name"));
    let bytes = transcript(expected.file);
    // These two were caught on standard error.
    let on_stderr = expected.file.contains("noauth.stderr") || expected.file.starts_with("amp");
    if on_stderr { read(&adapter, b"", &bytes) } else { read(&adapter, &bytes, b"") }
}

#[test]
fn every_transcript_is_understood() {
    let mut wrong = Vec::new();
    for expected in TRANSCRIPTS {
        let state = state(expected);
        let judged = judge::judge(&state, &Ended::Exited(expected.code), false, false);
        let seen = &state.run().observation;
        let failure = judged.as_ref().map(|judged| judged.failure);
        let tokens = seen.usage.tokens_in.zip(seen.usage.tokens_out).filter(|tokens| *tokens != (0, 0));
        let text = expected.text.is_none() || seen.last_text.as_deref() == expected.text;
        if failure != expected.failure || tokens != expected.tokens || !text {
            wrong.push(format!("{}: {failure:?} {tokens:?} {:?} {judged:?}", expected.file, seen.last_text));
        }
        if expected.file.ends_with("jsonl") && seen.session.is_none() {
            wrong.push(format!("{}: no session", expected.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_transcript_is_left_out() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts");
    for entry in std::fs::read_dir(dir).expect("there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A program's own record of a session stands beside its output.
        let name = name.replace(".rollout.", ".");
        assert!(TRANSCRIPTS.iter().any(|expected| expected.file == name), "{name}");
    }
}

#[test]
fn cost_is_what_the_program_says_and_unknown_where_it_says_nothing() {
    let cost = |file: &str| {
        let adapter = adapter(file.split('-').next().expect("a name"));
        read(&adapter, &transcript(file), b"").run().observation.usage.cost_usd
    };
    assert_eq!(cost("claude-write.jsonl").map(|cost| (cost * 1e6).round()), Some(13_626.0));
    assert_eq!(cost("opencode-perm-ask.jsonl"), Some(0.004_542));
    assert_eq!(cost("opencode-write.jsonl"), None, "work that is said to cost nothing has no known price");
    assert_eq!(cost("codex-write.jsonl"), None);
    assert_eq!(cost("gemini-write.jsonl"), None);
}

#[test]
fn the_last_tool_and_the_model_are_seen() {
    for (file, tool, model) in [
        ("claude-write.jsonl", "Write", Some("claude-sonnet-4-5")),
        ("codex-write.jsonl", "command_execution", None),
        ("gemini-write.jsonl", "write_file", Some("gemini-2.5-pro")),
        ("opencode-write.jsonl", "write", None),
        ("qwen-write.jsonl", "write_file", Some("mock-model")),
        ("copilot-write.jsonl", "create", Some("mock-model")),
    ] {
        let adapter = adapter(file.split('-').next().expect("a name"));
        let state = read(&adapter, &transcript(file), b"");
        let seen = &state.run().observation;
        assert_eq!((seen.last_tool.as_deref(), seen.model.as_deref()), (Some(tool), model), "{file}");
        assert!(state.run().open.is_empty() && seen.steps > 0 && seen.ended, "{file}");
    }
}

#[test]
fn a_wait_that_the_service_asked_for_is_kept() {
    for (file, seconds) in [("opencode-429ra.jsonl", 2), ("gemini-429ra.jsonl", 2), ("aider-429.txt", 20)] {
        let adapter = adapter(file.split('-').next().expect("a name"));
        let state = read(&adapter, &transcript(file), b"");
        let now = chrono::Utc::now();
        let at = judge::retry_at(state.run(), F::RateLimited, now).expect(file);
        assert_eq!((at - now).num_seconds(), seconds, "{file}");
    }
}

#[test]
fn the_models_words_are_never_judged() {
    let words = "litellm.RateLimitError: API Error: 401 authentication_failed [API Error: 500] Invalid API key";
    let lines = format!(
        "{{\"type\":\"thread.started\",\"thread_id\":\"t\"}}\n\
         {{\"type\":\"item.completed\",\"item\":{{\"id\":\"1\",\"type\":\"agent_message\",\"text\":\"{words}\"}}}}\n\
         {{\"type\":\"turn.completed\",\"usage\":{{\"input_tokens\":1,\"output_tokens\":1}}}}\n"
    );
    let codex = adapter("codex");
    let state = read(&codex, lines.as_bytes(), b"");
    assert_eq!(judge::judge(&state, &Ended::Exited(0), false, false), None);
    let claude = adapter("claude");
    let line = format!(
        "{{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":1,\"result\":\"{words}\"}}\n"
    );
    let state = read(&claude, line.as_bytes(), b"");
    assert_eq!(judge::judge(&state, &Ended::Exited(0), false, false), None);
}

#[test]
fn a_window_that_is_used_up_says_until_when() {
    let claude = adapter("claude");
    let until = chrono::Utc::now().timestamp() + 3_600;
    let lines = format!(
        "{{\"type\":\"rate_limit_event\",\"rate_limit_info\":{{\"status\":\"rejected\",\"resetsAt\":{until},\"rateLimitType\":\"five_hour\"}}}}\n\
         {{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":true,\"api_error_status\":429,\"num_turns\":1,\
         \"result\":\"You've hit your session limit\"}}\n"
    );
    let state = read(&claude, lines.as_bytes(), b"");
    let judged = judge::judge(&state, &Ended::Exited(1), false, false).expect("a failure");
    assert_eq!(judged.failure, F::QuotaWindow);
    assert_eq!(judged.retry_at.map(|at| at.timestamp()), Some(until));
    let codex = adapter("codex");
    let line = "{\"type\":\"turn.failed\",\"error\":{\"message\":\"You’ve hit your usage limit. Upgrade, or try again at 6:10 PM.\"}}";
    let state = read(&codex, line.as_bytes(), b"");
    let judged = judge::judge(&state, &Ended::Exited(1), false, false).expect("a failure");
    assert!(judged.failure == F::QuotaWindow && judged.retry_at.is_some(), "{judged:?}");
}

#[test]
fn a_line_above_the_cap_is_dropped_and_the_run_goes_on() {
    let mut claude = adapter("claude");
    claude.output.max_line = 4_096;
    let mut bytes = b"{\"type\":\"assistant\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 2_000_000));
    bytes.extend(b"\"}]}}\n\xff\xfe not JSON\n{\"type\":\"news\"}\n");
    bytes.extend(b"{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"num_turns\":1,\"result\":\"ok\"}");
    let state = read(&claude, &bytes, b"");
    assert_eq!(judge::judge(&state, &Ended::Exited(0), false, false), None);
    assert_eq!(state.run().observation.last_text.as_deref(), Some("ok"));
}

#[test]
fn a_run_without_its_last_event_is_no_success_whatever_its_exit_status() {
    for file in
        ["claude-write.jsonl", "codex-write.jsonl", "gemini-write.jsonl", "opencode-write.jsonl", "qwen-write.jsonl"]
    {
        let adapter = adapter(file.split('-').next().expect("a name"));
        let bytes = transcript(file);
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let cut = lines[..lines.len() - 1].join("\n");
        let state = read(&adapter, cut.as_bytes(), b"");
        let judged = judge::judge(&state, &Ended::Exited(0), false, false).expect(file);
        assert_eq!(judged.failure, F::Protocol, "{file}");
    }
}

fn any_adapter() -> impl Strategy<Value = Descriptor> {
    (0..descriptor::SHIPPED.len()).prop_map(|at| adapter(descriptor::SHIPPED[at].0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_a_program_writes_makes_us_fall(
        adapter in any_adapter(),
        stdout in proptest::collection::vec(any::<u8>(), 0..2_000),
        stderr in proptest::collection::vec(any::<u8>(), 0..500),
        code in 0..256,
    ) {
        let state = read(&adapter, &stdout, &stderr);
        judge::judge(&state, &Ended::Exited(code), false, false);
    }

    #[test]
    fn it_does_not_matter_how_the_stream_is_cut(
        at in 0..TRANSCRIPTS.len(),
        cuts in proptest::collection::vec(0usize..20_000, 0..12),
    ) {
        let file = TRANSCRIPTS[at].file;
        let adapter = adapter(file.split('-').next().expect("a name"));
        let bytes = transcript(file);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut state = Reader::new(Arc::new(adapter.clone()));
        for pair in cuts.windows(2) {
            state.feed(Stream::Stdout, &bytes[pair[0]..pair[1]], Duration::ZERO);
        }
        state.finish(Path::new("/nonexistent"), Duration::ZERO);
        let whole = read(&adapter, &bytes, b"");
        prop_assert_eq!(state.run(), whole.run());
    }

    #[test]
    fn lines_with_parts_left_out_or_moved_do_no_harm(
        at in 0..TRANSCRIPTS.len(),
        order in proptest::collection::vec(0usize..40, 0..40),
    ) {
        let file = TRANSCRIPTS[at].file;
        let adapter = adapter(file.split('-').next().expect("a name"));
        let bytes = transcript(file);
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let mixed: Vec<u8> = order.iter().flat_map(|at| [lines[at % lines.len()], b"\n"].concat()).collect();
        let state = read(&adapter, &mixed, b"");
        judge::judge(&state, &Ended::Exited(0), false, false);
    }
}

#[test]
fn one_object_in_place_of_lines_is_read_at_its_end() {
    let own = "extends = \"gemini\"\ndialect = \"json_object\"\n[map]\nsession = [{ ptr = \"/session_id\" }]\ntext = [{ ptr = \"/response\" }]\nterminal = [{ ok = [{ ptr = \"/stats/tools/totalFail\", eq = 0 }] }]\nusage = [{ input = [\"/stats/models/*/tokens/prompt\"], output = [\"/stats/models/*/tokens/candidates\"] }]\n";
    let own = BTreeMap::from([("mine".to_owned(), own.parse().expect("TOML"))]);
    let mine = descriptor::load("mine", &own).expect("loads");
    let state = read(&mine, &transcript("gemini-write-json.json"), b"");
    let seen = &state.run().observation;
    assert_eq!(state.run().terminal, Some(true));
    assert_eq!((seen.usage.tokens_in, seen.usage.tokens_out), (Some(2_468), Some(112)));
    assert_eq!(seen.last_text.as_deref(), Some(DONE));
    let torn = read(&mine, b"{\"response\": ", b"");
    assert_eq!(torn.run().terminal, None);
}

/// What a program came to, by what it wrote.
fn judged(name: &str, stdout: &str, stderr: &str, code: i32) -> Option<judge::Judgement> {
    let descriptor = adapter(name);
    let state = read(&descriptor, stdout.as_bytes(), stderr.as_bytes());
    judge::judge(&state, &Ended::Exited(code), false, false)
}

#[test]
fn a_limit_in_plain_words_is_a_limit_with_its_time() {
    let line = "You've hit your session limit \u{b7} resets 10:10pm (UTC)\n";
    let event = serde_json::json!({"type": "result", "subtype": "success", "is_error": true, "num_turns": 1,
        "result": line.trim(), "session_id": "s"});
    let synthetic = serde_json::json!({"type": "assistant", "error": "rate_limit", "message": {"id": "m",
        "model": "<synthetic>", "content": [{"type": "text", "text": line.trim()}]}});
    for (stdout, failure) in [(line.to_owned(), F::QuotaWindow), (format!("{synthetic}\n{event}\n"), F::RateLimited)] {
        let judged = judged("claude", &stdout, "", 1).expect("no success");
        assert_eq!(judged.failure, failure, "{judged:?}");
        let at = judged.retry_at.expect("a time");
        assert_eq!(at.format("%H:%M").to_string(), "22:11");
        assert!(judged.words.contains("session limit"), "{judged:?}");
    }
}

#[test]
fn a_page_of_a_proxy_is_the_network() {
    let words = "API Error: Unexpected token '<', \"<!DOCTYPE html>\" is not valid JSON";
    let claude =
        serde_json::json!({"type": "result", "subtype": "success", "is_error": true, "num_turns": 1, "result": words});
    let gemini = serde_json::json!({"type": "result", "status": "error", "error": {"type": "Error", "message": words}});
    let qwen = serde_json::json!({"type": "result", "subtype": "success", "is_error": false, "num_turns": 1,
        "result": "[API Error: 200 <html><body>Blocked</body></html>]"});
    for (name, event) in [("claude", claude), ("gemini", gemini), ("qwen", qwen)] {
        let judged = judged(name, &format!("{event}\n"), "", 1).expect("no success");
        assert_eq!(judged.failure, F::Network, "{name}: {judged:?}");
    }
}

#[test]
fn a_sandbox_that_does_not_work_is_told_although_the_run_calls_itself_a_success() {
    let stdout = "{\"type\":\"thread.started\",\"thread_id\":\"t\"}\n{\"type\":\"turn.completed\",\"usage\":{}}\n";
    let broken =
        "2026-11-29T10:00:00Z ERROR codex_core::exec: bwrap: execvp codex-linux-sandbox: No such file or directory\n";
    assert_eq!(judged("codex", stdout, broken, 0).map(|judged| judged.failure), Some(F::SandboxBroken));
    assert_eq!(judged("codex", stdout, "a note\n", 0), None);
}

#[test]
fn what_a_command_says_of_a_sandbox_counts_only_where_no_command_has_worked() {
    let claude = |worked: bool| {
        let result = |id: &str, failed: bool, words: &str| {
            let call = serde_json::json!({"type": "assistant", "message": {"id": id, "model": "m",
                "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]}});
            let content =
                serde_json::json!([{"type": "tool_result", "tool_use_id": id, "is_error": failed, "content": words}]);
            format!("{call}\n{}\n", serde_json::json!({"type": "user", "message": {"content": content}}))
        };
        let end = serde_json::json!({"type": "result", "subtype": "success", "is_error": false, "num_turns": 2, "result": "x"});
        let broken = result("a", true, "Exit code 1\nbwrap: setting up uid map: Permission denied");
        let other = result("b", !worked, "ok");
        judged("claude", &format!("{broken}{other}{end}\n"), "", 0).map(|judged| judged.failure)
    };
    assert_eq!(claude(false), Some(F::SandboxBroken));
    // An agent that works on a sandbox sees such words every day.
    assert_eq!(claude(true), None);
}

#[test]
fn a_program_that_failed_with_its_sandbox_last_words_has_a_broken_sandbox() {
    let words = "starting\nbwrap: loopback: Failed RTM_NEWADDR: Operation not permitted\n";
    for adapter in ["gemini", "qwen", "opencode", "claude"] {
        assert_eq!(judged(adapter, "", words, 1).map(|judged| judged.failure), Some(F::SandboxBroken), "{adapter}");
    }
}

#[test]
fn a_used_up_day_is_told_from_a_short_limit_although_the_exit_code_is_the_same() {
    let said = |message: &str| {
        let event =
            serde_json::json!({"type": "result", "status": "error", "error": {"type": "Error", "message": message}});
        judged("gemini", &format!("{event}\n"), "", 173).map(|judged| judged.failure)
    };
    assert_eq!(said("You exceeded your current quota: generate_requests_per_day"), Some(F::QuotaWindow));
    assert_eq!(said("[API Error: Resource has been exhausted]"), Some(F::RateLimited));
}

#[test]
fn what_a_shell_says_of_a_missing_program_and_a_full_disk_is_no_bad_work() {
    let missing = judged("claude", "", "env: 'node': No such file or directory\n", 127).expect("no success");
    assert_eq!((missing.failure, missing.failure.class()), (F::NotInstalled, oodatcaa_core::Class::AgentNotFound));
    let full = judged("claude", "", "Error: ENOSPC: no space left on device, write\n", 1).expect("no success");
    assert_eq!(full.failure.class(), oodatcaa_core::Class::Environment);
}

#[test]
fn tokens_are_counted_once_however_many_messages_interleave() {
    let event = |id: usize, output: u64| {
        let message = serde_json::json!({"id": format!("m{id}"), "model": "m", "content": [],
            "usage": {"input_tokens": 10, "output_tokens": output}});
        serde_json::json!({"type": "assistant", "message": message}).to_string() + "\n"
    };
    let first: String = (0..300).map(|id| event(id, 1)).collect();
    let second: String = (0..300).map(|id| event(id, 5)).collect();
    let state = read(&adapter("claude"), (first + &second).as_bytes(), b"");
    let seen = &state.run().observation;
    assert_eq!((seen.usage.tokens_in, seen.usage.tokens_out), (Some(3_000), Some(1_500)));
}
