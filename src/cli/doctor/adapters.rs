//! Agent CLIs as the services would see them: version, sign-in, and what is known of them.

use std::{path::Path, time::Duration};

use super::{report::Report, unit_variable};
use oodatcaa_agent::{
    self as agent,
    descriptor::{Descriptor, Evidence},
    environment::find_program,
    probe::{self, Fit, Login},
};
use oodatcaa_config::AgentConfig;

/// How long a program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks an agent whose program is looked for on `path`.
pub(super) fn check(report: &mut Report<'_>, name: &str, config: &AgentConfig, path: &str) {
    // What is wrong with the description has been said.
    let opened = agent::open(name, config);
    let Some(described) = opened.descriptor() else { return };
    let root = report.context.layout.root();
    if let Some(file) = find_program(&opened.program(path, root), path, root) {
        version(report, name, described, &file, path);
    }
    login(report, name, config, described);
    if described.evidence != Evidence::Measured {
        let what = format!("the adapter of `{name}` was written from documentation, and never tried with the program");
        report.found("adapter", what, format!("agentctl agent test {name}"));
    }
}

fn version(report: &mut Report<'_>, name: &str, described: &Descriptor, file: &Path, path: &str) {
    let update = described.program.install.clone().unwrap_or_else(|| format!("{} --version", file.display()));
    let found = match probe::ask_version(file, &described.program, path, PATIENCE) {
        Ok(found) => found,
        Err(why) => {
            let what = format!("agent `{name}`: {}: {why}", file.display());
            return report.found("agent_version.silent", what, update);
        }
    };
    let what = format!("agent `{name}`: version {found}");
    match (probe::fit(&described.program, &found), described.program.tested.as_slice()) {
        (Fit::Tested, _) => report.good("agent_version", format!("{what}, which was tested")),
        (Fit::TooOld, _) => report.found("agent_version.old", format!("{what} is too old"), update),
        (Fit::Untested, []) => report.good("agent_version", format!("{what}; no version was ever tested")),
        (Fit::Untested, tested) => report.good("agent_version", format!("{what}; tested was {}", tested.join(", "))),
    }
}

fn login(report: &mut Report<'_>, name: &str, config: &AgentConfig, described: &Descriptor) {
    let context = report.context;
    let terminal = |variable: &str| context.world.var(variable).map(String::from);
    let service = |variable: &str| match (variable, &context.unit) {
        ("HOME", _) => terminal("HOME"),
        // A service sees nothing of a terminal's variables.
        (_, Some(unit)) => config.set.get(variable).cloned().or_else(|| unit_variable(unit, variable)),
        (_, None) => config.set.get(variable).cloned().or_else(|| terminal(variable)),
    };
    match probe::login(described, &service) {
        Login::Variable(variable) => report.good("signed_in", format!("agent `{name}`: signed in by {variable}")),
        Login::File(file) => report.good("signed_in", format!("agent `{name}`: signed in by {}", file.display())),
        Login::Unknown => {}
        Login::Missing(names) => match probe::login(described, &terminal) {
            Login::Variable(variable) => {
                let what = format!(
                    "agent `{name}` is signed in by {variable} in this terminal, and the services do not see that"
                );
                report.found("signed_in", what, format!("set = {{ {variable} = \"file:PATH\" }} in [agents.{name}]"));
            }
            _ => {
                let how = described.program.login.clone().unwrap_or_else(|| format!("export {}=…", names[0]));
                report.found("signed_in", format!("agent `{name}` seems not to be signed in"), how);
            }
        },
    }
}
