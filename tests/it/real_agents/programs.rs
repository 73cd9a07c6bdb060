//! Where the programs are, and how each is started so that it talks to the loopback and to nothing else.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

/// A program that `scripts/install-agents.sh` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Claude,
    Codex,
    Gemini,
    Opencode,
    Qwen,
}

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Gemini => "gemini",
            Self::Opencode => "opencode",
            Self::Qwen => "qwen",
        }
    }

    /// The program, if it is installed; else it is said why the test is skipped.
    pub(super) fn find(self) -> Option<PathBuf> {
        let agents = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("agents");
        let program = agents.join("bin").join(self.name());
        if program.exists() {
            return Some(program);
        }
        let why = fs::read_to_string(agents.join(format!("{}.missing", self.name())));
        let why = why.unwrap_or_else(|_| format!("install it: scripts/install-agents.sh {}", self.name()));
        let needed = env::var("OODATCAA_NEED_AGENTS").unwrap_or_default();
        assert!(!needed.split_whitespace().any(|name| name == self.name()), "{} is missing: {why}", self.name());
        eprintln!("skipped, {} is not there: {}", self.name(), why.trim());
        None
    }

    /// Its argv for one unattended run with the prompt on standard input.
    pub(super) fn argv(self, program: &Path, url: &str) -> Vec<String> {
        let rest: &[&str] = match self {
            Self::Claude => &[
                "-p",
                "--output-format",
                "stream-json",
                "--verbose",
                "--dangerously-skip-permissions",
                "--model",
                self.model(),
            ],
            Self::Codex => &[
                "exec",
                "--json",
                "--skip-git-repo-check",
                "-m",
                self.model(),
                "--dangerously-bypass-approvals-and-sandbox",
            ],
            Self::Gemini => &["--output-format", "stream-json", "--yolo", "-m", self.model()],
            Self::Opencode => &["run", "--format", "json", "-m", self.model()],
            Self::Qwen => &["--output-format", "stream-json", "--yolo", "--auth-type", "openai"],
        };
        let rest = rest.iter().map(|&argument| argument.to_owned());
        let last = (self == Self::Codex).then(|| "-".to_owned());
        [program.display().to_string()].into_iter().chain(rest).chain(self.settings(url)).chain(last).collect()
    }

    /// The arguments that lead it to the loopback, where its environment cannot.
    pub(super) fn settings(self, url: &str) -> Vec<String> {
        if self != Self::Codex {
            return Vec::new();
        }
        let provider = format!(
            "model_providers.local={{name=\"local\",base_url=\"{url}/v1\",env_key=\"LOCAL_KEY\",wire_api=\"responses\",request_max_retries=0,stream_max_retries=0}}"
        );
        // Without the first four it looks for plugins, apps and figures on the network.
        let settings = [
            "analytics.enabled=false",
            "features.plugins=false",
            "features.apps=false",
            "features.remote_plugin=false",
            "model_provider=local",
            &provider,
        ];
        settings.iter().flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]).collect()
    }

    /// The model's name.
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Claude => "claude-sonnet-4-5",
            Self::Codex => "gpt-5",
            Self::Gemini => "gemini-2.5-pro",
            Self::Opencode => "local/scripted",
            Self::Qwen => "scripted",
        }
    }

    /// The variables that it needs beside those of the attempt; writes its settings below `home`.
    pub(super) fn environment(self, url: &str, home: &Path) -> BTreeMap<String, String> {
        let below = |name: &str| {
            let dir = home.join(name);
            fs::create_dir_all(&dir).expect("a directory");
            dir.display().to_string()
        };
        let settings = |name: &str, text: &str| fs::write(Path::new(&below(name)).join("settings.json"), text);
        let mut all = BTreeMap::from([("HOME".to_owned(), below("."))]);
        // What wants to leave the machine arrives at the endpoint, which refuses and remembers it.
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"] {
            all.insert(name.into(), url.into());
        }
        let mut set = |pairs: &[(&str, &str)]| {
            all.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        };
        set(&[("NO_PROXY", "127.0.0.1"), ("no_proxy", "127.0.0.1"), ("npm_config_registry", url)]);
        match self {
            Self::Claude => {
                set(&[
                    ("CLAUDE_CONFIG_DIR", &below("claude")),
                    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
                    ("CLAUDE_CODE_MAX_RETRIES", "1"),
                    ("ANTHROPIC_BASE_URL", url),
                    ("ANTHROPIC_API_KEY", "no-key"),
                ]);
                if rustix::process::geteuid().is_root() {
                    set(&[("IS_SANDBOX", "1")]);
                }
            }
            Self::Codex => set(&[("CODEX_HOME", &below("codex")), ("LOCAL_KEY", "no-key")]),
            Self::Gemini => {
                let text = r#"{"security":{"auth":{"selectedType":"gemini-api-key"}},"general":{"maxAttempts":1},"privacy":{"usageStatisticsEnabled":false}}"#;
                settings(".gemini", text).expect("written");
                set(&[
                    ("GEMINI_CLI_TRUST_WORKSPACE", "true"),
                    ("GEMINI_CLI_NO_RELAUNCH", "true"),
                    ("GOOGLE_GEMINI_BASE_URL", url),
                    ("GEMINI_API_KEY", "no-key"),
                ]);
            }
            Self::Opencode => {
                let config = format!(
                    r#"{{"autoupdate":false,"share":"disabled","permission":"allow","provider":{{"local":{{"npm":"@ai-sdk/openai-compatible","name":"local","options":{{"baseURL":"{url}/v1","apiKey":"no-key"}},"models":{{"scripted":{{"name":"scripted"}}}}}}}}}}"#
                );
                set(&[
                    ("OPENCODE_CONFIG_CONTENT", &config),
                    ("OPENCODE_DISABLE_AUTOUPDATE", "true"),
                    ("OPENCODE_DISABLE_MODELS_FETCH", "true"),
                    ("XDG_DATA_HOME", &below("data")),
                    ("XDG_CONFIG_HOME", &below("config")),
                    ("XDG_STATE_HOME", &below("state")),
                    ("XDG_CACHE_HOME", &below("cache")),
                ]);
            }
            Self::Qwen => {
                settings(".qwen", r#"{"privacy":{"usageStatisticsEnabled":false}}"#).expect("written");
                set(&[
                    ("QWEN_CODE_NO_RELAUNCH", "true"),
                    ("OPENAI_BASE_URL", &format!("{url}/v1")),
                    ("OPENAI_API_KEY", "no-key"),
                    ("OPENAI_MODEL", self.model()),
                ]);
                // It sends everything to a proxy, the loopback too.
                all.retain(|name, _| !name.to_ascii_lowercase().ends_with("_proxy"));
            }
        }
        all
    }
}

/// A directory for homes that is not below `/tmp`, where codex refuses to have its own.
pub(super) fn home() -> tempfile::TempDir {
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    tempfile::Builder::new().prefix("home-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}
