//! What a shell and `man` want to know: the version, completions and man pages, made from the tree of commands.

use std::path::PathBuf;

use clap_complete::{
    Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::{CompleteEnv, Shells},
};

use super::{
    command,
    context::Context,
    fail::{Done, exit},
    ui::{Settings, Ui},
};
use oodatcaa_core::text::{cut, one_line};
use oodatcaa_ops::{
    ErrorKind, Failure,
    view::{CompletionsView, ManView, VersionView},
};

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell [default: the one of $SHELL]
    #[arg(value_enum)]
    shell: Option<Shell>,
}

/// Flags of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Where all pages are written [default: the main page on standard output]
    dir: Option<PathBuf>,
}

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub(super) struct Version;

/// Prints the same words as `--version`.
pub(super) fn version(ctx: &Context, _: &Version) -> Done {
    let version = env!("CARGO_PKG_VERSION");
    if ctx.ui.json() {
        ctx.ui.value(&VersionView { name: "agentctl", version });
    } else {
        ctx.ui.line(&format!("agentctl {version}"));
    }
    Ok(exit::OK)
}

/// Prints a completion script.
pub(super) fn completions(ctx: &Context, args: &Completions) -> Done {
    let shell = args.shell.or_else(Shell::from_env).ok_or_else(|| {
        Failure::new(ErrorKind::Usage, "name the shell: $SHELL does not tell which")
            .hint("source <(agentctl completions bash)")
    })?;
    let name = shell.to_string();
    let shells = Shells::builtins();
    let known = shells.completer(&name).ok_or_else(|| {
        Failure::new(ErrorKind::Usage, format!("there are no completions for {name}")).hint("agentctl completions bash")
    })?;
    let mut script = Vec::new();
    known.write_registration(VARIABLE, "agentctl", "agentctl", "agentctl", &mut script)?;
    if ctx.ui.json() {
        ctx.ui.value(&CompletionsView { shell: name, script: String::from_utf8_lossy(&script).into_owned() });
    } else {
        ctx.ui.bytes(&script);
    }
    Ok(exit::OK)
}

/// The variable by which a completion script asks the program.
const VARIABLE: &str = "COMPLETE";

/// How many tasks are offered.
const OFFERED: usize = 500;

/// Answers a shell that asks for completions; `true` when one did, and nothing else is to be done.
pub(super) fn complete(args: &[std::ffi::OsString]) -> bool {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(VARIABLE).bin("agentctl").completer("agentctl");
    // A shell that asks wrongly gets no completions; there is nobody to tell.
    asked.try_complete(args, here.as_deref()).unwrap_or(std::env::var_os(VARIABLE).is_some())
}

/// Offers the ids of tasks, those first that have not ended.
pub(super) fn tasks() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let project = std::env::var_os("OODATCAA_PROJECT").map(PathBuf::from);
        let ctx = Context::new(Ui::new(Settings { quiet: true, ..Settings::default() }), project);
        // Without a project, or with a queue that cannot be read, there is nothing to offer.
        let Ok(reading) = ctx.project.store().and_then(|store| Ok(store.read()?)) else { return Vec::new() };
        let mut all: Vec<_> = reading.snapshot.queue.tasks().collect();
        all.sort_by_key(|task| task.status.is_finished());
        let shown = |words: &str| cut(&one_line(words), 60);
        all.iter()
            .take(OFFERED)
            .map(|task| {
                let help = format!("{} · {}", shown(task.status.as_str()), shown(&task.title));
                CompletionCandidate::new(task.id.as_str()).help(Some(help.into()))
            })
            .collect()
    })
}

/// Prints the main man page, or writes all of them.
#[expect(clippy::disallowed_methods, reason = "a directory that the user names")]
pub(super) fn man(ctx: &Context, args: &Man) -> Done {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page)?;
        if ctx.ui.json() {
            let page = Some(String::from_utf8_lossy(&page).into_owned());
            ctx.ui.value(&ManView { page, directory: None });
        } else {
            ctx.ui.bytes(&page);
        }
        return Ok(exit::OK);
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir));
    written.map_err(|error| Failure::io("write the man pages to", dir, &error))?;
    if ctx.ui.json() {
        ctx.ui.value(&ManView { page: None, directory: Some(dir.to_string_lossy().into_owned()) });
    }
    ctx.ui.say(&format!("see: man -l {}/agentctl.1", dir.display()));
    Ok(exit::OK)
}
