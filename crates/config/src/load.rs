//! From files, environment and flags to a checked configuration: the order of the steps.

use std::collections::BTreeMap;

use toml::Value;

use super::{
    ConfigError, Fault, Loaded, NamedCommand, Origin, Overrides, Setting, Trust, World, build,
    fault::Findings,
    flat::Flat,
    form,
    layers::{self, ProjectFile},
    lookup::{self, Place},
    secrets,
    tighten::{self, Held},
    trust::{self, Fingerprint},
    values,
};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::text::{near, one_line};

pub(super) fn load(world: &World, layout: &Layout, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let mut found = Findings::default();
    let mut all = layers::built_in();

    if let Some(path) = world.user_config()
        && let Some(text) = layers::read_own(&path)?
    {
        let user = layers::flatten(&text, &path, |place| Origin::in_file(&path, place))?;
        layers::lay(&mut all, checked(user, &mut found));
    }

    let (project, fingerprint, refused) = project_files(layout)?;
    found
        .warnings
        .extend(refused.iter().map(|why| format!("an adapter of the project is not used: {}", one_line(why))));
    let project: Vec<Flat> = project.iter().map(flat).collect::<Result<_, _>>()?;
    let commands = commands(&project);
    let project: Vec<Flat> = project.into_iter().map(|layer| checked(layer, &mut found)).collect();
    let mut tightened = all.clone();
    let mut held: Vec<Held> = Vec::new();
    for layer in &project {
        held.extend(tighten::lay(&mut tightened, layer.clone()));
    }
    let asked = Asked::new(&commands, &held, &fingerprint);
    let trust = trust_of(world, layout, &asked, &fingerprint, &mut found);
    let untrusted = matches!(trust, Trust::Untrusted { .. });
    if untrusted {
        all = tightened;
    } else {
        project.into_iter().for_each(|layer| layers::lay(&mut all, layer));
    }
    for layer in layers::environment(world).into_iter().chain([layers::flags(overrides)]) {
        layers::lay(&mut all, checked(layer, &mut found));
    }

    let dropped = |what: &str| -> Vec<String> {
        commands.iter().filter(|command| untrusted && command.what == what).map(|c| c.name.clone()).collect()
    };
    let (untrusted_agents, untrusted_gates) = (dropped("agent"), dropped("gate"));
    build::fill_in_defaults(&mut all);
    let mut config = build::build(&all, &untrusted_agents, &untrusted_gates, trust, &mut found);
    if let Ok(config) = &mut config {
        config.workspace.untrusted = !dropped("hook").is_empty();
    }
    let invalid = |mut faults: Vec<Fault>| {
        faults.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(ConfigError::Invalid(faults))
    };
    match config {
        Ok(config) if found.faults.is_empty() => Ok(Loaded {
            config,
            settings: build::settings(&all),
            warnings: found.warnings,
            hints: found.hints,
            trust,
            commands,
            chosen: asked.chosen,
            fingerprint,
            untrusted_agents,
            untrusted_gates,
            root: layout.root().into(),
        }),
        Ok(_) => invalid(found.faults),
        Err(fault) => {
            found.faults.push(fault);
            invalid(found.faults)
        }
    }
}

/// What a project's files hold that only counts once they are trusted.
struct Asked {
    /// In words, for a list.
    names: Vec<String>,
    /// What is neither command nor prompt.
    chosen: Vec<Setting>,
}

impl Asked {
    fn new(commands: &[NamedCommand], held: &[Held], fingerprint: &Fingerprint) -> Self {
        let setting = |held: &Held| Setting {
            key: held.path.join("."),
            value: build::masked(&held.path, &held.value),
            origin: held.origin.clone(),
        };
        let chosen: Vec<Setting> = held.iter().filter(|held| !is_command(&held.path)).map(setting).collect();
        let mut names: Vec<String> = commands.iter().map(|c| format!("{} `{}`", c.what, c.name)).collect();
        names.extend(chosen.iter().map(|setting| format!("`{}`", setting.key)));
        names.extend(fingerprint.prompts().map(|name| format!("prompt `{name}`")));
        Self { names, chosen }
    }
}

/// Returns a project's file by paths; an adapter's stands below the adapter's name.
fn flat(file: &ProjectFile) -> Result<Flat, ConfigError> {
    let flat = layers::flatten(&file.text, &file.path, |place| Origin::in_file(&file.path, place))?;
    let below = |path: Vec<String>| file.below.iter().cloned().chain(path).collect();
    Ok(flat.into_iter().map(|(path, value)| (below(path), value)).collect())
}

/// Reads the project's files once: what is hashed is what is used.
fn project_files(layout: &Layout) -> Result<(Vec<ProjectFile>, Fingerprint, Vec<String>), ConfigError> {
    let config = layers::read(layout, &layout.config())?;
    let local = layers::read(layout, &layout.local_config())?;
    let (adapters, refused) = layers::adapters(layout);
    let fingerprint =
        Fingerprint::of(config.as_deref(), local.as_deref(), (&adapters, &refused), trust::prompts(layout));
    let adapter = |(name, text): (String, String)| ProjectFile {
        path: layout.adapters().join(format!("{name}.toml")),
        text,
        below: vec!["adapters".into(), name],
    };
    let plain = [(layout.config(), config), (layout.local_config(), local)];
    let plain = plain.into_iter().filter_map(|(path, text)| Some(ProjectFile { path, text: text?, below: Vec::new() }));
    Ok((adapters.into_iter().map(adapter).chain(plain).collect(), fingerprint, refused))
}

/// Tells whether a path belongs to a command that may only run when the user trusts the project.
fn is_command(path: &[String]) -> bool {
    match path.first().map(String::as_str) {
        Some("agents" | "adapters" | "gates") => true,
        Some("workspace") => path.get(1).is_some_and(|member| HOOKS.contains(&member.as_str())),
        _ => false,
    }
}

/// The members of `[workspace]` that run something, or hand something over to what runs.
const HOOKS: [&str; 3] = ["setup", "teardown", "hook_env"];

/// Returns the commands that the project's files name, for the user to look at.
fn commands(project: &[Flat]) -> Vec<NamedCommand> {
    let mut commands: BTreeMap<(&'static str, String), NamedCommand> = BTreeMap::new();
    for (path, (value, _)) in project.iter().flatten() {
        let what = match path.first().map(String::as_str) {
            Some("agents") => "agent",
            Some("adapters") => "adapter",
            Some("gates") => "gate",
            Some("workspace") if is_command(path) => "hook",
            _ => continue,
        };
        let Some(name) = path.get(1) else { continue };
        if what == "hook" && value.as_array().is_some_and(Vec::is_empty) {
            continue;
        }
        let empty = || NamedCommand { what, name: name.clone(), ..NamedCommand::default() };
        let command = commands.entry((what, name.clone())).or_insert_with(empty);
        let texts = || values::list(value).unwrap_or_default().into_iter().map(String::from).collect();
        // What a clone brings is shown before anybody has looked at it, so secrets are masked here already.
        let shown = build::masked(path, value);
        let below: Vec<&str> = path[2..].iter().map(String::as_str).collect();
        match (what, below.as_slice()) {
            ("hook", []) if name == "hook_env" => command.env = texts(),
            ("hook", []) | ("agent" | "gate", ["argv"]) => command.argv = texts(),
            ("agent" | "gate", ["env"]) => command.env = texts(),
            ("agent", ["set", variable]) => {
                command.set.insert((*variable).into(), shown.as_str().unwrap_or(secrets::MASK).into());
            }
            (_, []) => {}
            (_, below) => {
                command.more.insert(below.join("."), shown.to_string());
            }
        }
    }
    commands.into_values().collect()
}

/// How many things are named in a warning.
const NAMED: usize = 12;

fn trust_of(world: &World, layout: &Layout, asked: &Asked, fingerprint: &Fingerprint, found: &mut Findings) -> Trust {
    let state = trust::lookup(world, layout, fingerprint).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        found.warnings.push(format!("nothing counts as trusted: failed to {error}{cause}"));
        Trust::Untrusted { changed: false }
    });
    let Trust::Untrusted { changed } = state else { return state };
    if asked.names.is_empty() {
        return Trust::NothingToTrust;
    }
    let more = asked.names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = asked.names.iter().take(NAMED).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
    let why = if changed { "it has changed since you trusted it" } else { "you have not trusted it" };
    found.warnings.push(format!(
        "this project's files only count where they tighten something, because {why}; not used: {names}{more}; look at them and allow them: agentctl config trust"
    ));
    state
}

/// Returns the entries of a layer that are declared, by their new names; notes the others.
fn checked(mut layer: Flat, found: &mut Findings) -> Flat {
    let old: Vec<(Vec<String>, Vec<String>)> =
        layer.keys().filter_map(|path| Some((path.clone(), lookup::renamed(path)?))).collect();
    for (path, new) in old {
        let Some((value, origin)) = layer.remove(&path) else { continue };
        let (was, now) = (one_line(&path.join(".")), one_line(&new.join(".")));
        let more = if layer.contains_key(&new) { ", which stands there as well and counts" } else { "" };
        found.hints.push(format!("{origin}: `{was}` is now called `{now}`{more}"));
        layer.entry(new).or_insert((value, origin));
    }
    layer
        .into_iter()
        .filter(|(path, (value, origin))| match check(path, value) {
            Ok(()) => true,
            Err(Wrong::Value(message)) => {
                found.faults.push(Fault { origin: origin.clone(), key: one_line(&path.join(".")), message });
                false
            }
            Err(Wrong::Unknown { depth }) => {
                let known = lookup::siblings(&path[..depth]);
                // A key that nobody reads would take its proof or its limit away without a word.
                let meant = match (near(&path[depth], known.iter().copied()).first(), known.is_empty()) {
                    (Some(word), _) => format!("did you mean `{word}`?"),
                    (None, false) => format!("there are: {}", known.join(", ")),
                    (None, true) => "see which there are: agentctl config show --default".into(),
                };
                let message = format!("is no known key; {meant}");
                found.faults.push(Fault { origin: origin.clone(), key: one_line(&path.join(".")), message });
                false
            }
        })
        .collect()
}

enum Wrong {
    /// The key is known, its value is not good.
    Value(String),
    /// The part of the path at this depth is not known.
    Unknown { depth: usize },
}

fn check(path: &[String], value: &Value) -> Result<(), Wrong> {
    let bad = |message: String| Wrong::Value(message);
    match lookup::place(path) {
        Place::Unknown => {
            let depth = (1..path.len()).rev().find(|&n| matches!(lookup::place(&path[..n]), Place::Table));
            Err(Wrong::Unknown { depth: depth.unwrap_or(0) })
        }
        Place::Below(key) => {
            let below = key.path.split('.').count();
            Err(bad(format!("is below `{}`, which takes a value and no table", path[..below].join("."))))
        }
        Place::Table => {
            names(path).map_err(bad)?;
            value.is_table().then_some(()).ok_or_else(|| bad(values::wrong(value, "a table")))
        }
        Place::Leaf(key) => {
            names(path).map_err(bad)?;
            key.kind.check(value).map_err(bad)
        }
    }
}

/// Checks the names that a path holds.
fn names(path: &[String]) -> Result<(), String> {
    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["agents", agent, "set", variable, ..] => form::named(agent).and_then(|()| form::variable(variable)),
        ["agents", agent, "accounts", account, "set", variable, ..] => {
            form::named(agent).and_then(|()| form::named(account)).and_then(|()| form::variable(variable))
        }
        ["agents", agent, "exits", code, ..] => {
            form::named(agent)?;
            match code.parse::<u8>() {
                Ok(1..) => Ok(()),
                _ => Err(format!("names the exit code `{code}`; expected a number from 1 to 255")),
            }
        }
        ["roles" | "agents" | "adapters" | "gates", name, ..] => form::named(name),
        _ => Ok(()),
    }
}
