//! What to execute: argv from groups, environment from lists, a home for the slot.

use std::{collections::BTreeMap, path::Path};

use crate::{
    Assignment, BadAgent, acp, argv,
    descriptor::{Descriptor, Dialect, Via},
    environment, home,
};
use oodatcaa_config::AgentConfig;
use oodatcaa_core::layout::Layout;
use oodatcaa_process::Invocation;
use oodatcaa_sys::files::{self, Durable};

/// More than any prompt that is rendered.
const LONGEST_PROMPT: u64 = 64 << 20;

/// Checks what a configuration says against the descriptor.
pub fn check(name: &str, config: &AgentConfig, descriptor: &Descriptor) -> Result<(), BadAgent> {
    let wrong = |what: String| Err(BadAgent::Setting { name: name.into(), what });
    if let Some(model) = config.model.as_deref().filter(|model| !is_plain(model)) {
        return wrong(format!("its model `{}` is no name of a model", oodatcaa_core::text::one_line(model)));
    }
    if config.model.is_some() && descriptor.args.model.is_empty() {
        return wrong("it has a `model`, and its adapter has no argument for one".into());
    }
    if let Some(permissions) = &config.permissions
        && !descriptor.args.permissions.contains_key(permissions)
    {
        let known: Vec<&str> = descriptor.args.permissions.keys().map(String::as_str).collect();
        return wrong(format!("its permissions are `{permissions}`; its adapter has: {}", known.join(", ")));
    }
    if config.argv.is_empty() && descriptor.program.names.is_empty() {
        return wrong("its adapter names no program; write e.g. `argv = [\"opencode\", \"acp\"]`".into());
    }
    if !config.argv.is_empty() {
        argv::check(&config.argv).map_err(|what| BadAgent::Argv { name: name.into(), what })?;
    }
    if !config.args.is_empty() {
        // Checked behind a program, which they are not.
        let all: Vec<String> = std::iter::once("x".to_owned()).chain(config.args.iter().cloned()).collect();
        argv::check(&all).map_err(|what| BadAgent::Argv { name: name.into(), what })?;
    }
    Ok(())
}

/// Tells whether a word can stand as an argument and is nothing but a name.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 200
        && !word.starts_with('-')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "._:/@+[]-".contains(c))
}

/// Returns the program: what the configuration names, else the first of the descriptor's names that is there.
pub fn program(descriptor: &Descriptor, config: &AgentConfig, path: &str, cwd: &Path) -> String {
    if !config.argv.is_empty() {
        return argv::program(&config.argv, cwd, cwd);
    }
    let names = &descriptor.program.names;
    let there = names.iter().find(|name| environment::find_program(name, path, cwd).is_some());
    there.or(names.first()).cloned().unwrap_or_default()
}

pub(super) fn invocation(descriptor: &Descriptor, config: &AgentConfig, assignment: &Assignment) -> Invocation {
    let (inherit, set) = variables(descriptor, config, assignment.home.as_deref());
    head(&assignment.prompt_file());
    let env = environment(assignment, &inherit, &set);
    let path = env.get("PATH").map_or("", String::as_str);
    let argv = arguments(descriptor, config, assignment, path);
    Invocation {
        argv,
        env,
        cwd: assignment.workspace.clone(),
        stdin: (descriptor.prompt.via == Via::Stdin).then(|| assignment.prompt_file()),
        stdout: assignment.run_dir.join("stdout.log"),
        stderr: assignment.run_dir.join("stderr.log"),
    }
}

/// Puts a heading above a prompt that starts with `/` or `!`: it is a command to some programs, and one of them runs it in a
/// shell.
fn head(prompt: &Path) {
    let root = Layout::root_of(prompt);
    let Ok(Some(text)) = files::read_text(root, prompt, LONGEST_PROMPT) else { return };
    if !text.trim_start().starts_with(['/', '!', '@', '-']) {
        return;
    }
    if let Err(error) = files::write_atomic(root, prompt, format!("# Task\n\n{text}").as_bytes(), Durable::No) {
        log::warn!("cannot put a heading above {}: {}", prompt.display(), error.why);
    }
}

fn arguments(descriptor: &Descriptor, config: &AgentConfig, assignment: &Assignment, path: &str) -> Vec<String> {
    let args = &descriptor.args;
    let model = config.model.as_ref().filter(|model| is_plain(model));
    // A session's name comes from the program's output: it must not become an option.
    let session = assignment.resume.as_ref().filter(|session| is_plain(session));
    let slot = home::usable(descriptor, assignment.home.as_deref(), &home::lookup(&config.set));
    let slot = slot.map(|slot| slot.to_string_lossy().into_owned());
    let own = |name: &str| match name {
        "model" => Some(model.cloned()),
        "session" => Some(session.cloned()),
        "slot" => Some(slot.clone()),
        _ => None,
    };
    let group = |group: &[String]| -> Vec<String> {
        let filled: Option<Vec<String>> = group.iter().map(|argument| fill(argument, assignment, &own)).collect();
        filled.unwrap_or_default()
    };
    let permission = config.permissions.as_ref().or(args.permission.as_ref());
    let permission = permission.and_then(|name| args.permissions.get(name));
    let mut all = Vec::new();
    if descriptor.dialect == Dialect::Acp {
        all.extend([acp::program(), acp::MODE.to_owned()]);
        all.extend(
            [&args.base, permission.unwrap_or(&Vec::new()), &args.model, &args.resume]
                .into_iter()
                .flat_map(|it| group(it)),
        );
        all.push("--".into());
        if config.argv.is_empty() {
            all.push(program(descriptor, config, path, &assignment.workspace));
            all.extend(group(&args.agent));
        } else {
            all.extend(argv::fill(&config.argv, assignment));
        }
        all.extend(argv::fill(&config.args, assignment));
        return all;
    }
    if config.argv.is_empty() {
        all.push(program(descriptor, config, path, &assignment.workspace));
        all.extend(group(&args.base));
        all.extend(permission.map(|arguments| group(arguments)).unwrap_or_default());
    } else {
        all.extend(argv::fill(&config.argv, assignment));
    }
    all.extend(group(&args.model));
    all.extend(argv::fill(&config.args, assignment));
    all.extend(group(&args.resume));
    all.extend(group(&args.prompt));
    all
}

/// Fills in the values of one argument; `None` when one of them is absent.
fn fill(argument: &str, assignment: &Assignment, own: &dyn Fn(&str) -> Option<Option<String>>) -> Option<String> {
    // One name at a time, so that a value is never read as a template.
    let Some(name) = argv::named(argument).into_iter().find(|name| own(name).is_some()) else {
        return argv::fill(&[argument.to_owned()], assignment).pop();
    };
    let value = own(&name).flatten()?;
    let (before, after) = argument.split_once(&format!("{{{name}}}"))?;
    Some(format!("{}{value}{}", fill(before, assignment, own)?, fill(after, assignment, own)?))
}

/// Returns the names to inherit, and the variables to set.
pub(super) fn variables(
    descriptor: &Descriptor,
    config: &AgentConfig,
    home: Option<&Path>,
) -> (Vec<String>, BTreeMap<String, String>) {
    let mut inherit = descriptor.env.allow.clone();
    inherit.extend(config.env.iter().cloned());
    let mut set = descriptor.env.set.clone();
    if rustix::process::geteuid().is_root() {
        set.extend(descriptor.env.if_root.clone());
    }
    if let Some(slot) = home::usable(descriptor, home, &home::lookup(&config.set)) {
        set.extend(home::redirected(descriptor, slot));
    }
    set.extend(config.set.clone());
    (inherit, set)
}
