//! What `argv` must hold.

use super::*;
use crate::tests::assignment;

fn argv(template: &[&str]) -> Vec<String> {
    template.iter().map(|&argument| argument.into()).collect()
}

fn wrong(template: &[&str]) -> String {
    check(&argv(template)).expect_err("a bad argv")
}

#[test]
fn placeholders_are_filled_inside_their_argument() {
    let mut assignment = assignment(Path::new("/tmp/no such project"));
    assignment.task.title = "--yes; $(touch x) `y` \"z\"\n\u{1b}[31mred".into();
    let template = argv(&[
        "tool",
        "{prompt_file}",
        "--id={task_id}/{attempt}",
        "Task: {title}",
        "{{role}}",
        r#"{"a":{"b":1}}"#,
        "",
    ]);
    assert_eq!(check(&template), Ok(()));
    assert_eq!(
        fill(&template, &assignment),
        [
            "tool",
            "/tmp/no such project/run/prompt.md",
            "--id=P001-B03/2",
            "Task: --yes; $(touch x) `y` \"z\" \u{fffd}[31mred",
            "{role}",
            r#"{"a":{"b":1}}"#,
            "",
        ]
    );
    std::fs::remove_dir_all("/tmp/no such project").expect("made by the assignment");
}

#[test]
fn the_program_is_known_before_there_is_a_task() {
    let program = |template: &[&str]| program(&argv(template), Path::new("/p"), Path::new("/w"));
    assert_eq!(program(&["{project}/tools/{{x}}", "{task_id}"]), "/p/tools/{x}");
    assert_eq!(program(&["{workspace}/run"]), "/w/run");
    assert_eq!(program(&[]), "");
}

#[test]
fn a_value_that_looks_like_a_placeholder_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    assignment.task.title = "{role} {{task_id}}".into();
    assert_eq!(fill(&argv(&["t", "a {title}"]), &assignment)[1], "a {role} {{task_id}}");
}

#[test]
fn mistakes_in_an_argv_are_told() {
    assert!(wrong(&[]).contains("empty"));
    assert!(wrong(&[""]).contains("empty"));
    let said = wrong(&["tool", "--x={promt_file}"]);
    assert!(said.contains("argv[1] names `{promt_file}`; there are: `{prompt_file}`"), "{said}");
    assert!(said.ends_with("For a literal `{promt_file}` write `{{promt_file}}`"), "{said}");
    assert!(wrong(&["{title}"]).contains("argv[0]"));
    assert!(wrong(&["/opt/{task_id}/run"]).contains("argv[0] names `{task_id}`"));
    assert!(wrong(&["tool", "{title}"]).contains("may start with a dash"));
    assert!(wrong(&["tool", "a\0b"]).contains("NUL"));
    assert_eq!(check(&argv(&["tool", "--", "{title}"])), Ok(()));
    assert_eq!(check(&argv(&["{project}/tools/agent"])), Ok(()));
}

#[test]
fn no_value_becomes_part_of_a_shell_script() {
    for bad in [
        &["sh", "-c", "agent '{title}'"][..],
        &["/bin/bash", "-lc", "agent < {prompt_file}"],
        &["env", "A=1", "bash", "-e", "-c", "x {task_id}"],
    ] {
        assert!(wrong(bad).contains("never go through a shell"), "{bad:?}");
    }
    assert_eq!(check(&argv(&["sh", "-c", "agent \"$1\"", "--", "{title}"])), Ok(()));
    assert_eq!(check(&argv(&["sh", "{project}/agent.sh", "{prompt_file}"])), Ok(()));
}

#[test]
fn a_huge_title_does_not_make_a_huge_argument() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut assignment = assignment(dir.path());
    assignment.task.title = "x".repeat(10_000_000);
    assert_eq!(fill(&argv(&["t", "a {title}"]), &assignment)[1].chars().count(), LONGEST_TITLE + 2);
}
