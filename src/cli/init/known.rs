//! The agent programs that `init` recognises, with the command line that runs each of them unattended.
//!
//! Each entry gives the least rights with which the program can do the work of a builder, gives the
//! prompt on standard input where the program reads it there, and turns the program's own long
//! retries down: trying again is our business.

/// A program.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name, also that of its program.
    pub name: &'static str,
    /// Program and arguments.
    pub argv: &'static [&'static str],
    /// `stdin` or `file`.
    pub prompt: &'static str,
    /// Variables that it inherits: keys, endpoints, where its own state is.
    pub env: &'static [&'static str],
    /// Variables that it is given.
    pub set: &'static [(&'static str, &'static str)],
    /// Exit codes with a meaning of their own.
    pub exits: &'static [(u8, &'static str)],
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
        argv: &["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"],
        prompt: "stdin",
        env: &[
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_MODEL",
            "CLAUDE_CONFIG_DIR",
        ],
        set: &[
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("CLAUDE_CODE_MAX_RETRIES", "2"),
            ("API_TIMEOUT_MS", "120000"),
        ],
        exits: &[],
        install: "npm install -g @anthropic-ai/claude-code",
        rights: "it may edit files, and run no shell command that its own settings do not allow",
        notes: &["To let it run commands, name them: add \"--allowedTools\", \"Bash(git *),Bash(make *)\" to argv."],
        writes_result: true,
    },
    Known {
        name: "codex",
        argv: &["codex", "exec", "--json", "--skip-git-repo-check", "-s", "workspace-write", "-"],
        prompt: "stdin",
        env: &["OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_HOME"],
        set: &[],
        exits: &[],
        install: "npm install -g @openai/codex",
        rights: "it may edit files and run commands within the project, in its own sandbox without network",
        notes: &["CODEX_HOME must exist, and must not be below /tmp: its sandbox breaks there."],
        writes_result: true,
    },
    Known {
        name: "gemini",
        argv: &["gemini", "--output-format", "stream-json", "--approval-mode", "auto_edit"],
        prompt: "stdin",
        env: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_CLOUD_PROJECT", "GEMINI_CLI_HOME"],
        set: &[("GEMINI_CLI_TRUST_WORKSPACE", "true"), ("GEMINI_CLI_NO_RELAUNCH", "true")],
        exits: &[
            (41, "auth_expired"),
            (52, "config"),
            (55, "config"),
            (147, "permission_denied"),
            (173, "rate_limited"),
            (244, "overloaded"),
            (247, "overloaded"),
        ],
        install: "npm install -g @google/gemini-cli",
        rights: "it may edit files; it is not offered a shell",
        notes: &["To let it run commands, give \"--yolo\" in place of \"--approval-mode\", \"auto_edit\"."],
        writes_result: true,
    },
    Known {
        name: "opencode",
        argv: &["opencode", "run", "--format", "json"],
        prompt: "stdin",
        env: &["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "OPENCODE_CONFIG"],
        set: &[("OPENCODE_DISABLE_AUTOUPDATE", "true")],
        exits: &[],
        install: "npm install -g opencode-ai",
        rights: "it may do what its own settings allow without asking",
        notes: &["Run it once by hand first: several first runs at once can break each other's set-up."],
        writes_result: true,
    },
    Known {
        name: "qwen",
        argv: &["qwen", "--output-format", "stream-json", "--yolo"],
        prompt: "stdin",
        env: &["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "QWEN_HOME"],
        set: &[("QWEN_CODE_NO_RELAUNCH", "true")],
        exits: &[],
        install: "npm install -g @qwen-code/qwen-code",
        rights: "it may edit files and run any command without asking",
        notes: &["It waits without end and without a word when its service limits it: `silence` ends that."],
        writes_result: true,
    },
    Known {
        name: "copilot",
        argv: &["copilot", "--output-format", "json", "--allow-all", "--no-auto-update", "--no-ask-user"],
        prompt: "stdin",
        env: &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN", "COPILOT_HOME", "COPILOT_MODEL"],
        set: &[],
        exits: &[],
        install: "npm install -g @github/copilot",
        rights: "it may edit files and run any command without asking",
        notes: &[],
        writes_result: true,
    },
    Known {
        name: "cursor-agent",
        argv: &["cursor-agent", "-p", "--output-format", "stream-json", "--force", "--trust"],
        prompt: "stdin",
        env: &["CURSOR_API_KEY"],
        set: &[],
        exits: &[],
        install: "see https://cursor.com/cli",
        rights: "it may edit files and run any command without asking",
        notes: &["It may linger after its result; `silence` ends that."],
        writes_result: true,
    },
    Known {
        name: "aider",
        argv: &[
            "aider",
            "--message-file",
            "{prompt_file}",
            "--yes-always",
            "--no-check-update",
            "--no-show-release-notes",
            "--analytics-disable",
            "--no-pretty",
            "--no-stream",
            "--no-gitignore",
            "--no-auto-commits",
            "--no-dirty-commits",
            "--no-show-model-warnings",
            "--no-detect-urls",
            "--no-suggest-shell-commands",
            "--chat-history-file",
            "{run_dir}/aider.chat.md",
            "--input-history-file",
            "{run_dir}/aider.input",
        ],
        prompt: "file",
        env: &["OPENAI_API_KEY", "OPENAI_API_BASE", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AIDER_MODEL"],
        set: &[],
        exits: &[],
        install: "python3 -m pip install aider-chat",
        rights: "it may edit files; it runs no commands",
        notes: &["It ends with 0 even when its service refuses it: give every role a gate that looks at the work."],
        writes_result: false,
    },
];

/// A program by name.
pub fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_says_how_its_prompt_arrives() {
        for known in KNOWN {
            assert_eq!(known.argv[0], known.name);
            let by_file = known.argv.iter().any(|arg| arg.contains("{prompt_file}"));
            assert_eq!(known.prompt, if by_file { "file" } else { "stdin" }, "{}", known.name);
            for (_, class) in known.exits {
                assert!(class.parse::<crate::domain::Class>().is_ok(), "{class}");
            }
        }
        assert!(find("claude").is_some() && find("sim").is_none());
    }
}
