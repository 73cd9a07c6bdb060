//! What to execute: argv from groups, environment from lists, a home for the slot.

use std::{collections::BTreeMap, path::Path};

use crate::{
    Assignment, acp, argv,
    descriptor::{Descriptor, Dialect},
    home,
};
use oodatcaa_config::AgentConfig;
use oodatcaa_core::{layout::Layout, placeholder};
use oodatcaa_sys::files::{self, Durable};

/// More than any prompt that is rendered.
const LONGEST_PROMPT: u64 = 64 << 20;

/// Checks what a configuration says against the descriptor.
pub(crate) fn check(config: &AgentConfig, descriptor: &Descriptor) -> Result<(), String> {
    if let Some(model) = config.model.as_deref().filter(|model| !is_plain(model)) {
        return Err(format!("its model `{}` is not the name of a model", oodatcaa_core::text::one_line(model)));
    }
    if config.model.is_some() && descriptor.args.model.is_empty() {
        return Err("it names a `model`, and its adapter has no argument for one".into());
    }
    if let Some(permissions) = &config.permissions
        && !descriptor.args.words().any(|word| word == permissions)
    {
        let known: Vec<&str> = descriptor.args.words().collect();
        return Err(format!("its permissions are `{permissions}`; its adapter has: {}", known.join(", ")));
    }
    if config.argv.is_empty() && descriptor.program.names.is_empty() {
        return Err("its adapter names no program; write e.g. `argv = [\"opencode\", \"acp\"]`".into());
    }
    if !config.argv.is_empty() {
        argv::check(&config.argv)?;
    }
    if !config.args.is_empty() {
        // Checked behind a program, which they are not.
        let all: Vec<String> = std::iter::once("x".to_owned()).chain(config.args.iter().cloned()).collect();
        argv::check(&all)?;
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

/// Puts a heading above a prompt that starts with `/` or `!`: it is a command to some programs, and one of them runs it in a
/// shell.
pub(crate) fn head(prompt: &Path) {
    let root = Layout::root_of(prompt);
    let Ok(Some(text)) = files::read_text(root, prompt, LONGEST_PROMPT) else { return };
    if !text.trim_start().starts_with(['/', '!', '@', '-']) {
        return;
    }
    if let Err(error) = files::write_atomic(root, prompt, format!("# Task\n\n{text}").as_bytes(), Durable::No) {
        log::warn!("cannot put a heading above {}: {}", prompt.display(), error.why);
    }
}

/// Returns the whole command line of an attempt.
pub(crate) fn arguments(
    descriptor: &Descriptor,
    config: &AgentConfig,
    assignment: &Assignment,
    program: String,
) -> Vec<String> {
    let args = &descriptor.args;
    let model = config.model.as_ref().filter(|model| is_plain(model));
    // A session's name comes from the program's output: it must not become an option.
    let session = assignment.resume.as_ref().filter(|session| is_plain(session));
    let slot = home::usable(descriptor, assignment.home.as_deref(), &home::lookup(&config.set));
    let slot = slot.map(|slot| slot.to_string_lossy().into_owned());
    let value = |name: &str| match name {
        "model" => model.cloned(),
        "session" => session.cloned(),
        "slot" => slot.clone(),
        _ => argv::value(name, assignment),
    };
    let group = |group: &[String]| -> Vec<String> {
        let filled: Option<Vec<String>> = group.iter().map(|argument| placeholder::filled(argument, &value)).collect();
        filled.unwrap_or_default()
    };
    // A word that cannot be kept is a problem of the configuration, which executes nothing.
    let may = group(args.permitted(config.permissions.as_deref(), assignment.sandboxed).unwrap_or_default());
    let (model, resume, further) = (group(&args.model), group(&args.resume), argv::fill(&config.args, assignment));
    let own_argv = (!config.argv.is_empty()).then(|| argv::fill(&config.argv, assignment));
    if descriptor.dialect == Dialect::Acp {
        let client = vec![acp::program(), acp::MODE.to_owned()];
        let agent = own_argv.unwrap_or_else(|| [vec![program], group(&args.agent)].concat());
        return [client, group(&args.base), may, model, resume, vec!["--".into()], agent, further].concat();
    }
    let begin = own_argv.unwrap_or_else(|| [vec![program], group(&args.base), may].concat());
    [begin, model, further, resume, group(&args.prompt)].concat()
}

/// Returns the names to inherit, and the variables to set.
pub(crate) fn variables(
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
