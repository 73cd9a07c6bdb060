//! What a shell and `man` want to know: completions and man pages, made from the tree of commands.

use std::path::PathBuf;

use clap_complete::Shell;

use super::{
    command,
    context::Context,
    fail::{self, Done, exit},
};
use crate::error::Failure;

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell [default: the one of $SHELL]
    #[arg(value_enum)]
    shell: Option<Shell>,
}

/// Flags of `man`.
#[derive(Debug, clap::Args)]
pub struct Man {
    /// Where all pages are written [default: the main page on standard output]
    dir: Option<PathBuf>,
}

/// Prints a completion script.
pub fn completions(ctx: &Context, args: &Completions) -> Done {
    let shell = args.shell.or_else(Shell::from_env).ok_or_else(|| {
        Failure::new("usage", "which shell? $SHELL does not say").hint("source <(agentctl completions bash)")
    })?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "agentctl", &mut script);
    ctx.ui.bytes(&script);
    Ok(exit::OK)
}

/// Prints the main man page, or writes all of them.
pub fn man(ctx: &Context, args: &Man) -> Done {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page)?;
        ctx.ui.bytes(&page);
        return Ok(exit::OK);
    };
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir));
    written.map_err(|error| fail::io("write the man pages to", dir, &error))?;
    ctx.ui.say(&format!("see: man -l {}/agentctl.1", dir.display()));
    Ok(exit::OK)
}
