//! Agents that write what nobody asked for.

use std::fs;

use super::{ctl, once, with_one};

/// One attempt fails as `protocol`, is charged, and the task waits for its next try.
#[track_caller]
fn breaks_the_protocol(script: &str, words: &str) {
    let project = with_one(script);
    let said = once(&project, "builder");
    assert_eq!(said.ended(0).complaints().len(), 1, "{said:#?}");
    assert!(said.err.contains(&format!("A: protocol → ready: {words}")), "{words:?}: {said:#?}");
    assert!(said.err.len() < 3_000, "{}", said.err.len());
    assert_eq!((project.status("A"), project.task("A")["attempts"].as_u64()), ("ready".into(), Some(1)));
    let finished = &project.events_of("attempt.finished")[0];
    assert!(finished["data"]["reason"].as_str().is_some_and(|reason| reason.contains(words)), "{finished}");
    assert!(project.leases().is_empty());
    // The next prompt says what was wrong.
    eventually_claimed_again(&project);
    let prompt = fs::read_to_string(project.path(".oodatcaa/runs/A/2/prompt.md")).expect("a prompt");
    assert!(prompt.contains(words), "{prompt}");
}

fn eventually_claimed_again(project: &crate::support::Project) {
    crate::support::eventually("the backoff passes", || {
        once(project, "builder").ended(0);
        project.path(".oodatcaa/runs/A/2/prompt.md").exists().then_some(())
    });
}

#[test]
fn a_result_that_is_no_result_is_told_to_the_next_attempt() {
    breaks_the_protocol("echo '{nonsense' > $OODATCAA_RESULT_FILE", "result.json is invalid: key must be");
    breaks_the_protocol("echo '[]' > $OODATCAA_RESULT_FILE", "result.json is a list; it must be one JSON object");
    breaks_the_protocol("printf '\\377' > $OODATCAA_RESULT_FILE", "result.json is not UTF-8 at byte 0");
    breaks_the_protocol(
        "head -c 200000 /dev/zero | tr '\\0' '[' > $OODATCAA_RESULT_FILE",
        "result.json is a list; it must be one JSON object",
    );
}

#[test]
fn a_huge_result_is_not_read() {
    breaks_the_protocol("head -c 200000000 /dev/zero > $OODATCAA_RESULT_FILE", "result.json is larger than 4 MiB");
}

#[test]
fn a_result_that_is_a_link_or_a_pipe_is_not_followed() {
    breaks_the_protocol(
        "ln -s /etc/passwd $OODATCAA_RESULT_FILE",
        "result.json is not a plain file: it is a symbolic link",
    );
    breaks_the_protocol("mkfifo $OODATCAA_RESULT_FILE", "result.json is not a plain file");
    breaks_the_protocol("mkdir $OODATCAA_RESULT_FILE", "result.json is not a plain file");
}

#[test]
fn a_hundred_megabytes_that_are_no_text_are_cut_off_and_harm_nobody() {
    let project = with_one("printf '\\377\\376bad\\033[2J\\n'; head -c 100000000 /dev/urandom; exit 1");
    let said = once(&project, "builder");
    assert_eq!(said.ended(0).complaints().len(), 1, "{said:#?}");
    assert!(said.err.len() < 3_000 && !said.err.contains('\u{1b}'), "{said:#?}");
    let log = fs::metadata(project.path(".oodatcaa/runs/A/1/stdout.log")).expect("a log").len();
    assert!(log <= 64 << 20, "{log}");
    assert!(fs::metadata(project.path(".oodatcaa/work/events.jsonl")).expect("a journal").len() < 100_000);
    assert_eq!(project.status("A"), "ready");
    let tail = ctl(&project, "logs A -n 3");
    assert!(!tail.ended(0).out.chars().any(|c| c.is_control() && !"\n\t".contains(c)), "nothing paints");
    ctl(&project, "run show A").ended(0);
    ctl(&project, "show A").ended(0);
}
