//! The agent programs that `init` recognises, and what each may do unasked when it is set up.
//!
//! How each is run, its adapter knows; here stands the least that lets it do the work of a builder.

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name, also that of its program and of its adapter.
    pub name: &'static str,
    /// What it may do unasked, in the words of its adapter.
    pub permissions: Option<&'static str>,
    /// How to install it.
    pub install: &'static str,
    /// What it may do when started like this, one sentence.
    pub rights: &'static str,
    /// Comments that go above its entry.
    pub notes: &'static [&'static str],
    /// Whether it can write a file outside of what it edits: then a result file can be demanded.
    pub writes_result: bool,
}

/// Every program that we know, the one to take first first.
pub const KNOWN: &[Known] = &[
    Known {
        name: "claude",
        permissions: Some("auto"),
        install: "npm install -g @anthropic-ai/claude-code",
        rights: "it may edit files and run commands that its own second model lets pass",
        notes: &[
            "Without its auto mode: permissions = \"edits\" and args = [\"--allowedTools\", \"Bash(git *),Bash(make *)\"]; or permissions = \"all\".",
        ],
        writes_result: true,
    },
    Known {
        name: "codex",
        permissions: Some("auto"),
        install: "npm install -g @openai/codex",
        rights: "it may edit files and run commands within the project, in its own sandbox; its reviewer decides on the rest",
        notes: &["CODEX_HOME must not be below /tmp: its sandbox breaks there."],
        writes_result: true,
    },
    Known {
        name: "gemini",
        permissions: Some("edits"),
        install: "npm install -g @google/gemini-cli",
        rights: "it may edit files; it is not offered a shell",
        notes: &["To let it run commands: permissions = \"all\"."],
        writes_result: true,
    },
    Known {
        name: "opencode",
        permissions: Some("all"),
        install: "npm install -g opencode-ai",
        rights: "it may do everything that its own settings do not deny, without asking",
        notes: &[],
        writes_result: true,
    },
    Known {
        name: "qwen",
        permissions: Some("all"),
        install: "npm install -g @qwen-code/qwen-code",
        rights: "it may edit files and run any command without asking",
        notes: &["It waits without end and without a word when its service limits it; a limit of ours ends that."],
        writes_result: true,
    },
    Known {
        name: "copilot",
        permissions: Some("all"),
        install: "npm install -g @github/copilot",
        rights: "it may edit files and run any command without asking",
        notes: &[],
        writes_result: true,
    },
    Known {
        name: "cursor-agent",
        permissions: Some("all"),
        install: "see https://cursor.com/cli",
        rights: "it may edit files and run any command without asking",
        notes: &["Its adapter was written from documentation only: look at its first runs."],
        writes_result: true,
    },
    Known {
        name: "aider",
        permissions: None,
        install: "python3 -m pip install aider-chat",
        rights: "it may edit files; it runs no commands",
        notes: &["It ends with 0 even when its service refuses it: give every role a gate that looks at the work."],
        writes_result: false,
    },
];

/// Finds a program by its name.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use oodatcaa_agent::descriptor;

    #[test]
    fn every_entry_has_an_adapter_that_knows_its_permissions() {
        for known in KNOWN {
            let adapter = descriptor::load(known.name, &BTreeMap::new()).expect("ships");
            assert_eq!(adapter.program.install.as_deref(), Some(known.install));
            assert_eq!(adapter.program.names[0], known.name);
            if let Some(permissions) = known.permissions {
                assert!(adapter.args.permissions.contains_key(permissions), "{}", known.name);
            }
        }
        assert!(find("claude").is_some() && find("sim").is_none());
    }
}
