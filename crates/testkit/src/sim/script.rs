//! What the simulated agent is told to do: a seeded script in TOML, chosen by task, role and try.
//!
//! The same script, task and token always give the same play. The play itself is [`play`](super::play())'s.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use oodatcaa_agent::result;
use oodatcaa_core::Class;

/// A whole script.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// The place where all chance comes from.
    pub(crate) seed: u64,
    /// How many times faster than written time passes; 1 when absent.
    pub(crate) speed: Option<f64>,
    /// How long an attempt takes where its rule does not say.
    pub(crate) seconds: Option<Span>,
    /// The first rule that matches is played; without one the attempt succeeds.
    pub(crate) rules: Vec<Rule>,
}

/// A time in seconds: fixed, or between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Span {
    /// Exactly so long.
    Fixed(f64),
    /// Between these, by the seed.
    Between([f64; 2]),
}

/// What to do, and when.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Rule {
    /// For this role; `*` and `?` as in file names. Any when absent.
    pub(crate) role: Option<String>,
    /// For these tasks, likewise.
    pub(crate) task: Option<String>,
    /// On these tries of a stage, from 1 (an uncharged failure does not count on).
    pub(crate) attempts: Vec<u32>,
    /// On these runs of the role on the task, from 1, each counted.
    pub(crate) calls: Vec<u32>,
    /// In this share of all cases, by the seed.
    pub(crate) chance: Option<f64>,
    /// What to do.
    #[serde(rename = "do")]
    pub(crate) behaviour: Behaviour,
    /// How long it takes.
    pub(crate) seconds: Option<Span>,
    /// What it says in the end.
    pub(crate) summary: Option<String>,
    /// Files to edit in the workspace.
    pub(crate) edits: Vec<Edit>,
    /// Tasks to propose.
    pub(crate) tasks: Vec<Map<String, Value>>,
    /// `exit`: the exit status. `fail` uses it too.
    pub(crate) exit: Option<u8>,
    /// `say_failed`: what kind of failure.
    pub(crate) class: Option<Class>,
    /// `ask`: the question.
    pub(crate) question: Option<String>,
    /// `ask`: answers to pick from.
    pub(crate) options: Vec<String>,
    /// `rate_limited`: seconds until the service is back.
    pub(crate) retry_after: Option<u64>,
    /// `flood`: how much.
    pub(crate) megabytes: Option<u64>,
    /// `crash`: `ABRT` or `KILL`.
    pub(crate) signal: Option<CrashSignal>,
}

/// How it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CrashSignal {
    /// As a failed assertion does.
    Abrt,
    /// As the kernel does when memory is short.
    Kill,
}

/// A file to edit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Edit {
    /// Below the workspace; `{task_id}`, `{role}`, `{attempt}` and `{token}` are filled in, here and below.
    pub(crate) path: String,
    /// The whole new content.
    pub(crate) content: Option<String>,
    /// What to put at the end.
    pub(crate) append: Option<String>,
}

/// What the simulated agent can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Behaviour {
    /// Works, says done.
    #[default]
    Succeed,
    /// Exits with a failure, without a result file.
    Fail,
    /// Says in its result file that it failed.
    SayFailed,
    /// Says that the work needs adaptation.
    NeedsAdapt,
    /// Says that the plan is wrong.
    Replan,
    /// Says that something outside stands in the way.
    Blocked,
    /// Asks a human.
    Ask,
    /// Says that nothing had to be changed.
    NoChange,
    /// Works for ever, and is heard.
    Hang,
    /// Says nothing any more, for ever.
    Silent,
    /// Ends by a signal.
    Crash,
    /// Writes very much, then succeeds.
    Flood,
    /// Works for ever and does not care about TERM.
    IgnoreTerm,
    /// Succeeds and leaves a process in a session of its own behind, which ignores TERM.
    LeaveGrandchild,
    /// The service refuses for a while.
    RateLimited,
    /// Works, then exits with this status, without a last line.
    Exit,
    /// Succeeds without a result file.
    NoResult,
    /// Succeeds with a result file that cannot be read.
    BadResult,
    /// Exits with 0 before its last line.
    CutOff,
}

/// Which run it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) task: String,
    pub(crate) role: String,
    /// The try in its stage.
    pub(crate) attempt: u32,
    pub(crate) token: u64,
    /// Which run of this role on this task it is, from 1.
    pub(crate) nth: u32,
}

/// What one run is going to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// The rule, or one that succeeds.
    pub(crate) rule: Rule,
    /// How long it works.
    pub(crate) time: Duration,
    /// The place where the rest of the chance comes from.
    pub(crate) seed: u64,
}

/// How long an attempt takes where nobody says.
const USUAL: Span = Span::Between([1.0, 3.0]);

impl Script {
    /// Reads and checks a script.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let script: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        script.check()?;
        Ok(script)
    }

    fn check(&self) -> Result<(), String> {
        if self.speed.is_some_and(|speed| !speed.is_finite() || speed <= 0.0) {
            return Err("`speed` must be greater than 0".into());
        }
        self.seconds.map_or(Ok(()), Span::check)?;
        self.rules
            .iter()
            .enumerate()
            .try_for_each(|(at, rule)| rule.check().map_err(|what| format!("rule {}: {what}", at + 1)))
    }

    /// Decides what this run is going to be. `speed` overrides the script's.
    pub(crate) fn part(&self, call: &Call, speed: Option<f64>) -> Part {
        let seed = mix(self.seed, call);
        let rule = self.rules.iter().enumerate().find(|(at, rule)| rule.fits(call, seed, *at)).map(|(_, rule)| rule);
        let rule = rule.cloned().unwrap_or_default();
        let [low, high] = rule.seconds.or(self.seconds).unwrap_or(USUAL).bounds();
        let seconds = (low + (high - low) * unit(seed)) / speed.or(self.speed).unwrap_or(1.0);
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Part { rule, time, seed }
    }
}

impl Span {
    fn bounds(self) -> [f64; 2] {
        match self {
            Self::Fixed(seconds) => [seconds, seconds],
            Self::Between(bounds) => bounds,
        }
    }

    fn check(self) -> Result<(), String> {
        let [low, high] = self.bounds();
        let fine = low.is_finite() && high.is_finite() && 0.0 <= low && low <= high;
        if fine { Ok(()) } else { Err("`seconds` must be a number from 0, or two of them, the smaller first".into()) }
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        self.seconds.map_or(Ok(()), Span::check)?;
        if self.chance.is_some_and(|chance| !(0.0..=1.0).contains(&chance)) {
            return Err("`chance` must be between 0 and 1".into());
        }
        if let Some(class) = self.class.filter(|class| !result::may_claim(*class)) {
            return Err(format!("an agent cannot say `{class}` of itself"));
        }
        for edit in &self.edits {
            if edit.content.is_some() == edit.append.is_some() {
                return Err(format!("the edit of `{}` needs either `content` or `append`", edit.path));
            }
            let path = std::path::Path::new(&edit.path);
            let stays = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if edit.path.is_empty() || !stays {
                return Err(format!("the path `{}` is not a plain path below the workspace", edit.path));
            }
        }
        Ok(())
    }

    fn fits(&self, call: &Call, seed: u64, at: usize) -> bool {
        let glob = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|p| matches(p, text));
        glob(&self.role, &call.role)
            && glob(&self.task, &call.task)
            && (self.attempts.is_empty() || self.attempts.contains(&call.attempt))
            && (self.calls.is_empty() || self.calls.contains(&call.nth))
            && self.chance.is_none_or(|chance| unit(spread(seed ^ spread(at as u64 + 1))) < chance)
    }
}

/// Tells whether a text fits a pattern: `*` for any text, `?` for any one character.
fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern_rest, mut text_rest) = (pattern.chars(), text.chars());
    match (pattern_rest.next(), text_rest.next()) {
        (Some('*'), next) => {
            matches(pattern_rest.as_str(), text) || next.is_some() && matches(pattern, text_rest.as_str())
        }
        (Some(one), Some(next)) => (one == '?' || one == next) && matches(pattern_rest.as_str(), text_rest.as_str()),
        (wanted, next) => wanted.is_none() && next.is_none(),
    }
}

/// Mixes task, role and token into the seed, so that each run has a chance of its own that never changes.
fn mix(seed: u64, call: &Call) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ spread(seed);
    let token = call.token.to_le_bytes();
    for byte in call.task.bytes().chain([0]).chain(call.role.bytes()).chain([0]).chain(token) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    spread(hash)
}

/// Spreads a seed over all bits (SplitMix64).
pub(super) fn spread(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit(seed: u64) -> f64 {
    (spread(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(task: &str, role: &str, attempt: u32, token: u64) -> Call {
        Call { task: task.into(), role: role.into(), attempt, token, nth: attempt }
    }

    #[test]
    fn the_first_rule_that_fits_is_played() {
        let script = Script::parse(
            r#"
            [[rules]]
            role = "tester"
            task = "D2*"
            attempts = [1]
            do = "needs_adapt"
            [[rules]]
            task = "D?-B0*"
            do = "hang"
            "#,
        )
        .expect("a script");
        let plays = |task, role, attempt| script.part(&call(task, role, attempt, 9), None).rule.behaviour;
        assert_eq!(plays("D2-T01", "tester", 1), Behaviour::NeedsAdapt);
        assert_eq!(plays("D2-T01", "tester", 2), Behaviour::Succeed);
        assert_eq!(plays("D7-B02", "builder", 1), Behaviour::Hang);
        assert_eq!(plays("D71-B02", "builder", 1), Behaviour::Succeed);
    }

    #[test]
    fn a_play_can_be_repeated_and_differs_from_its_neighbours() {
        let script = Script { seed: 7, ..Script::default() };
        let time = |token| script.part(&call("T", "builder", 1, token), None).time;
        assert_eq!(time(1), time(1));
        assert_ne!(time(1), time(2));
        assert!((1..200).all(|token| (1_000..=3_000).contains(&time(token).as_millis())));
        let fast = script.part(&call("T", "builder", 1, 1), Some(10.0)).time;
        assert_eq!(fast.as_millis(), (time(1) / 10).as_millis());
    }

    #[test]
    fn chance_is_about_what_it_says() {
        let script = Script::parse("[[rules]]\nchance = 0.25\ndo = \"fail\"").expect("a script");
        let fails = (0..4_000).filter(|&n| script.part(&call("T", "r", 1, n), None).rule.behaviour == Behaviour::Fail);
        let fails = fails.count();
        assert!((900..1_100).contains(&fails), "{fails} of 4000");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, says) in [
            ("sped = 2", "unknown field `sped`"),
            ("speed = 0.0", "greater than 0"),
            ("seconds = [3, 1]", "smaller first"),
            ("seconds = [3.0, 1.0]", "smaller first"),
            ("[[rules]]\ndo = \"dance\"", "unknown variant `dance`"),
            ("[[rules]]\nchance = 2.0", "rule 1: `chance`"),
            ("[[rules]]\n[[rules.edits]]\npath = \"../x\"\nappend = \"\"", "not a plain path"),
            ("[[rules]]\n[[rules.edits]]\npath = \"/x\"\nappend = \"\"", "not a plain path"),
            ("[[rules]]\n[[rules.edits]]\npath = \"x\"", "either `content` or `append`"),
            ("[[rules]]\nclass = \"cancelled\"", "cannot say `cancelled`"),
            ("rules = 3", "expected a sequence"),
        ] {
            let said = Script::parse(text).expect_err(text);
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn patterns_are_those_of_file_names() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("?", "", false),
            ("**b", "aab", true),
            ("", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
