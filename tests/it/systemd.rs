//! The fleet under a real systemd user manager: runs `tests/systemd/run.sh` and believes only what it prints.

use std::{path::Path, process::Command};

#[test]
#[expect(clippy::print_stderr, reason = "whoever reads the log shall see what was not tried")]
fn the_fleet_runs_under_a_real_user_manager() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/run.sh");
    let bin = Path::new(env!("CARGO_BIN_EXE_agentctl")).parent().expect("binaries lie in a directory");
    let output = Command::new("bash").arg(&script).arg(bin).output().expect("bash is there");
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    if let Some(why) = out.lines().find(|line| line.starts_with("SKIP ")) {
        eprintln!("{why}");
        if out.lines().count() == 1 {
            return;
        }
    }
    let failed: Vec<&str> = out.lines().filter(|line| line.starts_with("FAIL ")).collect();
    assert!(failed.is_empty() && output.status.success(), "{}\n{out}\n{err}", failed.join("\n"));
    let passed = out.lines().filter(|line| line.starts_with("PASS ")).count();
    assert!(passed >= 30, "only {passed} checks were made:\n{out}\n{err}");
}
