//! Agent CLIs as the services would see them: version, sign-in, and what is known of them.

use std::{path::Path, time::Duration};

use super::{DoctorContext, check::Checks};
use oodatcaa_agent::{
    self as agent,
    descriptor::{Descriptor, Evidence},
    environment::find_program,
    probe::{self, Fit, Login},
};
use oodatcaa_config::AgentConfig;

/// How long a program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a unit sets for its services; `None` where no unit is installed.
pub(super) struct Unit<'a>(pub(super) Option<&'a str>);

impl Unit<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.0?.lines().find_map(|line| {
            let value = line.strip_prefix("Environment=")?.trim().trim_matches('"');
            value.strip_prefix(name)?.strip_prefix('=').map(|value| value.replace("%%", "%"))
        })
    }
}

/// Checks an agent whose program was found on `path`.
pub(super) fn check(
    checks: &mut Checks,
    context: &DoctorContext<'_>,
    name: &str,
    config: &AgentConfig,
    path: &str,
    unit: &Unit<'_>,
) {
    // What is wrong with the description has been told.
    let opened = agent::open(name, config);
    let Some(described) = opened.descriptor() else { return };
    let wanted = opened.program(path, context.layout.root());
    if let Some(file) = find_program(&wanted, path, context.layout.root()) {
        version(checks, name, described, &file, path);
    }
    login(checks, context, name, config, described, unit);
    if described.evidence != Evidence::Measured {
        let what =
            format!("the adapter of `{name}` was written from documentation, and never held against the program");
        let why = "its failures may be told apart wrongly; gates and evidence still hold";
        checks.warn("adapter", what, why, format!("agentctl agent test {name}"));
    }
}

fn version(checks: &mut Checks, name: &str, described: &Descriptor, file: &Path, path: &str) {
    let update = described.program.install.clone().unwrap_or_else(|| format!("{} --version", file.display()));
    match probe::ask_version(file, &described.program, path, PATIENCE) {
        Err(why) => {
            let what = format!("agent `{name}`: {}: {why}", file.display());
            checks.warn("agent_version", what, "a program that cannot say its version may not run at all", update);
        }
        Ok(found) => match probe::fit(&described.program, &found) {
            Fit::Tested => checks.good("agent_version", format!("agent `{name}`: version {found}, which was tested")),
            Fit::TooOld => {
                let what = format!("agent `{name}`: version {found} is too old");
                checks.bad("agent_version", what, "it does not know the options it is started with", update);
            }
            Fit::Untested => {
                let tested = match described.program.tested.as_slice() {
                    [] => "no version was ever tested".to_owned(),
                    tested => format!("tested was {}", tested.join(", ")),
                };
                checks.good("agent_version", format!("agent `{name}`: version {found}; {tested}"));
            }
        },
    }
}

fn login(
    checks: &mut Checks,
    context: &DoctorContext<'_>,
    name: &str,
    config: &AgentConfig,
    described: &Descriptor,
    unit: &Unit<'_>,
) {
    let terminal = |variable: &str| context.world.var(variable).map(String::from);
    let service = |variable: &str| match variable {
        "HOME" => terminal("HOME"),
        _ => config.set.get(variable).cloned().or_else(|| match unit.0 {
            // A service sees nothing of a terminal's variables.
            Some(_) => unit.variable(variable),
            None => terminal(variable),
        }),
    };
    match probe::login(described, &service) {
        Login::Variable(variable) => checks.good("signed_in", format!("agent `{name}`: signed in by {variable}")),
        Login::File(file) => checks.good("signed_in", format!("agent `{name}`: signed in by {}", file.display())),
        Login::Unknown => {}
        Login::Missing(names) => {
            let why = "every attempt would end as `auth_expired`, and the role would pause";
            let how = described.program.login.clone().unwrap_or_else(|| format!("export {}=…", names[0]));
            match probe::login(described, &terminal) {
                Login::Variable(variable) => checks.warn(
                    "signed_in",
                    format!(
                        "agent `{name}` is signed in by {variable} in this terminal, and the services do not see that"
                    ),
                    why,
                    format!("set = {{ {variable} = \"file:PATH\" }} in [agents.{name}]"),
                ),
                _ => checks.warn("signed_in", format!("agent `{name}` seems not to be signed in"), why, how),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_read_from_a_unit() {
        let unit = Unit(Some("[Service]\nEnvironment=\"PATH=/a\"\nEnvironment=KEY=50%%\n"));
        assert_eq!(unit.variable("KEY").as_deref(), Some("50%"));
        assert_eq!(unit.variable("KE"), None);
        assert_eq!(Unit(None).variable("KEY"), None);
    }
}
