//! `docs/guide.md`, word by word, with the real program and a model that answers from a script.

use super::programs::Program;
use crate::{
    documents::Reader,
    endpoint::{Endpoint, Script},
};

const SCRIPT: &str = r#"
[[rules]]
name = "planner"
when = [", role planner"]
[[rules.steps]]
result = { outcome = "done", summary = "one part is enough" }

[[rules]]
name = "builder"
when = [", role builder"]
[[rules.steps]]
run = "echo 'Build it: make build' >> README.md"
[[rules.steps]]
result = { outcome = "done", summary = "README.md says make build" }

[[rules]]
name = "tester"
when = [", role tester"]
[[rules.steps]]
run = "grep -q 'make build' README.md"
[[rules.steps]]
result = { outcome = "done", summary = "it says so", criteria = [
  { criterion = 1, met = true, evidence = "grep finds the command" },
  { criterion = 2, met = true, evidence = "the Makefile has the target" },
] }
"#;

#[test]
fn the_guide_leads_from_nothing_to_a_merge_with_the_real_claude() {
    let Some(program) = Program::Claude.find() else { return };
    let endpoint = Endpoint::start(Script::parse(SCRIPT).expect("a script"), None).expect("an endpoint");
    let reader = Reader::new("");
    let bin = program.parent().expect("in a directory").display().to_string();
    let reader = [
        ("PATH", bin.as_str()),
        ("ANTHROPIC_BASE_URL", &endpoint.url()),
        ("ANTHROPIC_API_KEY", "sk-ant-no-key"),
        ("ANTHROPIC_MODEL", Program::Claude.model()),
        ("HTTPS_PROXY", &endpoint.url()),
        ("HTTP_PROXY", &endpoint.url()),
        ("NO_PROXY", "127.0.0.1"),
    ]
    .into_iter()
    .fold(reader, |reader, (name, value)| reader.with(name, value));
    let said = reader.follow("docs/guide.md");
    let readme = std::fs::read_to_string(reader.at("my-repo/README.md")).expect("merged");
    assert!(readme.contains("Build it: make build"), "{said}");
}
