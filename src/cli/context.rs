//! What a command works with: where it prints, and the project that it is about.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use super::ui::Ui;
use oodatcaa_core::Workflow;
use oodatcaa_ops::{Failure, Project};
use oodatcaa_store::Reading;
use oodatcaa_sys::files;

/// The surroundings of one command.
pub(super) struct Context {
    /// Where it prints.
    pub ui: Ui,
    /// What it is about.
    pub project: Project,
    warned: std::cell::Cell<bool>,
}

impl Context {
    /// Returns the surroundings for the project that was named, or the one around the working directory.
    pub(super) fn new(ui: Ui, project: Option<PathBuf>) -> Self {
        Self { ui, project: Project::new(project), warned: std::cell::Cell::default() }
    }

    /// Returns the table of roles; warns once where the shipped one stands in for a broken configuration.
    pub(super) fn workflow(&self) -> &Workflow {
        let workflow = self.project.workflow();
        if let Some(broken) = &workflow.policy().broken
            && !self.warned.replace(true)
        {
            self.ui.warn(&format!("{broken}; the built-in roles are shown"));
        }
        workflow
    }

    /// Reads what stands there now; warns where it is the last good content of a broken queue file.
    pub(super) fn read(&self) -> Result<Reading, Failure> {
        let reading = self.project.read()?;
        if let Some(invalid) = &reading.invalid {
            self.ui.warn(&format!("the queue file cannot be read, this is its last good content: {invalid}"));
        }
        Ok(reading)
    }
}

/// Reads a file that the person names, or standard input (`-`); `None` where there is no such file.
pub(super) fn input(file: &Path, most: u64) -> Result<Option<Vec<u8>>, Failure> {
    if file.as_os_str() != "-" {
        return Ok(files::read_named(file, most)?);
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(most).read_to_end(&mut bytes);
    read.map(|_| Some(bytes)).map_err(|error| Failure::io("read", "standard input".as_ref(), &error))
}
