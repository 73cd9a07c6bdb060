//! What the form of a description does not say by itself.

use super::{Descriptor, Dialect, Source, Via};
use crate::{argv, environment, home, probe};
use oodatcaa_core::placeholder;

/// Placeholders of `[args]` besides those of every argv.
const OWN: &[&str] = &["model", "session", "slot"];

/// Answers with what is wrong.
pub(super) fn check(descriptor: &Descriptor) -> Result<(), String> {
    program(descriptor)?;
    args(descriptor)?;
    variables(descriptor)?;
    rules(descriptor)
}

fn program(descriptor: &Descriptor) -> Result<(), String> {
    if (descriptor.program.names.is_empty() && descriptor.dialect != Dialect::Acp)
        || descriptor.program.names.iter().any(|name| name.trim().is_empty())
    {
        return Err("`program.names` names no program".into());
    }
    if let Some(min) = &descriptor.program.min
        && probe::version(min).is_none()
    {
        return Err(format!("`program.min` is `{min}`; expected e.g. \"2.0.0\""));
    }
    Ok(())
}

fn args(descriptor: &Descriptor) -> Result<(), String> {
    let args = &descriptor.args;
    let groups = [
        ("base", &args.base),
        ("model", &args.model),
        ("resume", &args.resume),
        ("prompt", &args.prompt),
        ("agent", &args.agent),
    ];
    let permissions = args.permissions.iter().map(|(name, group)| (name.as_str(), group));
    let known = || argv::PLACEHOLDERS.iter().filter(|name| **name != "title").chain(OWN).copied();
    for (name, group) in groups.into_iter().chain(permissions) {
        let mut named = group.iter().flat_map(|argument| placeholder::named(argument));
        if let Some(placeholder) = named.find(|placeholder| !known().any(|name| name == placeholder)) {
            let all: Vec<&str> = known().collect();
            return Err(format!("`args.{name}` names `{{{placeholder}}}`; there are: {}", all.join(", ")));
        }
    }
    for (name, group, needed) in [("model", &args.model, "model"), ("resume", &args.resume, "session")] {
        if !group.is_empty() && !argv::mentions(group, needed) {
            return Err(format!("`args.{name}` has no `{{{needed}}}`"));
        }
    }
    if let Some(name) = &args.permission
        && !args.words().any(|word| word == name)
    {
        return Err(format!("`args.permission` is `{name}`, which `args.permissions` does not have"));
    }
    if let Some(word) = args.own_sandbox.iter().find(|word| !args.words().any(|known| known == word.as_str())) {
        return Err(format!("`args.own_sandbox` names `{word}`, which `args.permissions` does not have"));
    }
    if !args.own_sandbox.is_empty() && args.permissions.len() == args.words().count() {
        return Err("`args.own_sandbox` needs `args.permissions.sandboxed`, which takes their place".into());
    }
    let sees_file = argv::mentions(args.base.iter().chain(&args.prompt), "prompt_file");
    if descriptor.prompt.via == Via::File && !sees_file {
        return Err("`prompt.via` is \"file\", and neither `args.base` nor `args.prompt` has `{prompt_file}`".into());
    }
    Ok(())
}

fn variables(descriptor: &Descriptor) -> Result<(), String> {
    let env = &descriptor.env;
    let names = env.allow.iter().chain(env.set.keys()).chain(env.if_root.keys()).chain(descriptor.home.redirect.keys());
    if let Some(name) = names.into_iter().find(|name| name.starts_with(environment::OURS)) {
        return Err(format!("variable `{name}` belongs to us"));
    }
    let mut inside = descriptor.home.files.keys().chain(descriptor.home.links.keys());
    match inside.find(|name| !home::stays_below(name)) {
        Some(name) => Err(format!("`home` names `{name}`, which is not below the slot's directory")),
        None => Ok(()),
    }
}

fn rules(descriptor: &Descriptor) -> Result<(), String> {
    if descriptor.map.terminal.is_empty() {
        return Err("`map.terminal` is empty: no run of it could count as a success".into());
    }
    for (at, rule) in descriptor.errors.iter().enumerate() {
        let wrong = |what: &str| Err(format!("`errors[{at}]`: {what}"));
        match rule.source {
            Source::Field | Source::Session if rule.ptr.is_none() => return wrong("`field` and `session` need `ptr`"),
            Source::Session if descriptor.output.sessions.is_empty() => {
                return wrong("`session` needs `output.sessions`, which says where to look");
            }
            Source::Field | Source::Session | Source::Stderr if rule.regex.is_some() && rule.class.is_none() => {
                return wrong("`regex` needs `class`");
            }
            Source::Field | Source::Session if rule.regex.is_none() && rule.class.is_none() && rule.map.is_empty() => {
                return wrong("says no failure: `map`, or `regex` and `class`");
            }
            Source::Stderr if rule.regex.is_none() => return wrong("`stderr` needs `regex` and `class`"),
            Source::Exit if rule.map.is_empty() => return wrong("`exit` needs `map`"),
            Source::Exit if rule.map.keys().any(|code| code.parse::<u8>().is_err()) => {
                return wrong("an exit code is a number from 0 to 255");
            }
            _ => {}
        }
    }
    for (at, rule) in descriptor.early.iter().enumerate() {
        let wrong = |what: &str| Err(format!("`early[{at}]`: {what}"));
        if rule.stderr && rule.regex.is_none() {
            return wrong("`stderr` needs `regex`");
        }
        if !rule.stderr && rule.when.is_empty() {
            return wrong("`when` would hold for every event");
        }
    }
    if descriptor.output.file.as_ref().is_some_and(|name| !home::stays_below(name)) {
        return Err("`output.file` is not below the attempt's directory".into());
    }
    if descriptor.output.wrap.is_some() && descriptor.dialect != Dialect::Text {
        return Err("`output.wrap` is for the dialect `text`".into());
    }
    Ok(())
}
