//! The filter text of `ls`: `role:builder is:blocked,stale prio:<2 -is:done some words`.

use oodatcaa_core::{Status, Task, text::near};
use oodatcaa_ops::{ErrorKind, Failure, ReadModel, TaskState};

/// Another way to write the minus before a term, which a command line takes for a flag.
const NOT: &str = "not:";

/// The keys of terms.
const KEYS: [&str; 5] = ["role", "status", "is", "prio", "priority"];

/// Writes the minus of a word out where it is a term and not a flag.
pub(super) fn unminused(word: &str) -> Option<String> {
    let rest = word.strip_prefix('-')?;
    let (name, _) = rest.split_once(':')?;
    KEYS.contains(&name).then(|| format!("{NOT}{rest}"))
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    terms: Vec<(bool, Term)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Role(Vec<String>),
    Status(Vec<String>),
    Is(Vec<Is>),
    Priority(std::cmp::Ordering, bool, i64),
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    State(TaskState),
    Blocked,
    Open,
    Simulated,
    Nested,
}

impl Filter {
    /// Reads the words of a command line; each may hold several terms. The roles and statuses that they name must exist.
    pub(super) fn parse<'a>(model: &ReadModel, words: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        let tokens = words.into_iter().flat_map(str::split_whitespace);
        Ok(Self { terms: tokens.map(|token| term(model, token)).collect::<Result<_, _>>()? })
    }

    /// Tells whether a term speaks about how tasks end, so that ended ones are not left out by default.
    pub(super) fn wants_finished(&self) -> bool {
        self.terms.iter().any(|(wanted, term)| {
            *wanted
                && match term {
                    Term::Status(words) => words.iter().any(|w| oodatcaa_core::Status::new(w.as_str()).is_finished()),
                    Term::Is(words) => {
                        words.iter().any(|is| matches!(is, Is::State(TaskState::Done | TaskState::Cancelled)))
                    }
                    _ => false,
                }
        })
    }

    /// Tells whether a task passes.
    pub(super) fn passes(&self, model: &ReadModel, task: &Task) -> bool {
        self.terms.iter().all(|(wanted, term)| term.holds(model, task) == *wanted)
    }
}

impl Term {
    fn holds(&self, model: &ReadModel, task: &Task) -> bool {
        match self {
            Self::Role(roles) => roles.iter().any(|role| role == model.role(task)),
            Self::Status(words) => words.iter().any(|word| word == task.status.as_str()),
            Self::Is(words) => words.iter().any(|is| is.holds(model, task)),
            Self::Priority(order, or_equal, than) => {
                let found = task.priority.cmp(than);
                found == *order || (*or_equal && found.is_eq())
            }
            Self::Text(words) => {
                task.id.as_str().to_lowercase().contains(words) || task.title.to_lowercase().contains(words)
            }
        }
    }
}

impl Is {
    fn holds(self, model: &ReadModel, task: &Task) -> bool {
        match self {
            // A task that failed for good waits for a person as well.
            Self::State(TaskState::NeedsYou) => model.needs_you(task),
            Self::State(state) => model.state(task) == state,
            Self::Blocked => task.status == oodatcaa_core::Status::BLOCKED,
            Self::Open => !task.status.is_finished(),
            Self::Simulated => model.simulated(task),
            Self::Nested => task.nested,
        }
    }
}

fn term(model: &ReadModel, token: &str) -> Result<(bool, Term), Failure> {
    let (wanted, positive) = match token.strip_prefix(NOT).or_else(|| token.strip_prefix('-')) {
        Some(rest) if rest.contains(':') => (false, rest),
        _ => (true, token),
    };
    let list = |words: &str| words.split(',').filter(|word| !word.is_empty()).map(String::from).collect::<Vec<_>>();
    let term = match positive.split_once(':') {
        Some((key, words)) if KEYS.contains(&key) && words.split(',').all(str::is_empty) => {
            return Err(usage(format!("`{key}:` needs a value")).hint("agentctl help filters"));
        }
        Some(("role", words)) => Term::Role(roles(model, list(words))?),
        Some(("status", words)) => Term::Status(statuses(model, list(words))?),
        Some(("is", words)) => Term::Is(list(words).iter().map(|word| is(word)).collect::<Result<_, _>>()?),
        Some(("prio" | "priority", number)) => priority(number)?,
        // A key that is nearly one of ours was meant as one; other words with a colon are words of a title.
        Some((key, rest)) if let Some(near) = near(key, KEYS.iter().copied()).first() => {
            return Err(usage(format!("`{key}:` is not a filter; there are: {}", KEYS.join(", ")))
                .hint(format!("agentctl ls {near}:{rest}")));
        }
        _ => Term::Text(positive.to_lowercase()),
    };
    Ok((wanted, term))
}

fn is(word: &str) -> Result<Is, Failure> {
    let more = [("blocked", Is::Blocked), ("open", Is::Open), ("sim", Is::Simulated), ("nested", Is::Nested)];
    let all = TaskState::ALL.iter().map(|state| (state.as_str(), Is::State(*state))).chain(more);
    if let Some((_, is)) = all.clone().find(|(known, _)| *known == word) {
        return Ok(is);
    }
    let words: Vec<&str> = all.map(|(known, _)| known).collect();
    let failure = usage(format!("`is:{word}` is not known; there are: {}", words.join(", ")));
    Err(match near(word, words).first() {
        Some(near) => failure.hint(format!("agentctl ls is:{near}")),
        None => failure,
    })
}

fn priority(text: &str) -> Result<Term, Failure> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let (order, or_equal, number) = match text {
        text if text.starts_with("<=") => (Less, true, &text[2..]),
        text if text.starts_with(">=") => (Greater, true, &text[2..]),
        text if text.starts_with('<') => (Less, false, &text[1..]),
        text if text.starts_with('>') => (Greater, false, &text[1..]),
        text => (Equal, true, text),
    };
    let number = number.parse().map_err(|_| usage(format!("`prio:{text}` is not a priority; write e.g. prio:<2")))?;
    Ok(Term::Priority(order, or_equal, number))
}

fn usage(message: String) -> Failure {
    Failure::new(ErrorKind::Usage, message)
}

fn roles(model: &ReadModel, roles: Vec<String>) -> Result<Vec<String>, Failure> {
    let known: Vec<&str> = model.workflow.rules().iter().map(|rule| rule.role.as_str()).collect();
    match roles.iter().find(|role| !known.contains(&role.as_str())) {
        None => Ok(roles),
        Some(role) => {
            let message = format!("there is no role `{role}`; there are: {}", known.join(", "));
            Err(Failure::new(ErrorKind::NoRole, message).hint("agentctl status"))
        }
    }
}

fn statuses(model: &ReadModel, statuses: Vec<String>) -> Result<Vec<String>, Failure> {
    // A task may stand in a status that no role knows.
    let there = |word: &str| model.snapshot.queue.tasks().any(|task| task.status.as_str() == word);
    let known = |word: &String| model.workflow.knows(&Status::new(word.as_str())) || there(word);
    let Some(word) = statuses.iter().find(|word| !known(word)) else { return Ok(statuses) };
    let all = model.workflow.statuses();
    let message = format!("no role knows the status `{word}`, and no task has it");
    Err(Failure::new(ErrorKind::NotFound, message).hint(match near(word, all.iter().map(Status::as_str)).first() {
        Some(near) => format!("agentctl ls status:{near}"),
        None => "agentctl help states".into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oodatcaa_core::{Now, Queue, Snapshot, Status, TaskId, Workflow};

    fn with_model<T>(check: impl FnOnce(&ReadModel) -> T) -> T {
        let task = |id: &str, status, title: &str, priority| {
            let mut task = Task::new(TaskId::parse(id).expect("a good id"), status);
            (task.title, task.priority) = (title.into(), priority);
            task
        };
        let tasks = vec![
            task("A1", Status::READY, "Fix the parser", 1),
            task("A2", Status::BLOCKED, "Write docs", 2),
            task("A3", Status::DONE, "Parse more", 3),
            task("A4", Status::IN_PROGRESS, "Stale one", 4),
        ];
        let snapshot = Snapshot::of(Now::new(chrono::Utc::now(), std::time::Duration::ZERO), Queue::of(tasks));
        check(&ReadModel::new(&snapshot, &Workflow::shipped()))
    }

    fn parse(filter: &str) -> Result<Filter, Failure> {
        with_model(|model| Filter::parse(model, [filter]))
    }

    fn passing(filter: &str) -> Vec<String> {
        with_model(|model| {
            let filter = Filter::parse(model, [filter]).expect("a good filter");
            let tasks = model.snapshot.queue.tasks();
            tasks.filter(|task| filter.passes(model, task)).map(|task| task.id.to_string()).collect()
        })
    }

    #[test]
    fn terms_are_all_to_hold() {
        assert_eq!(passing("role:builder"), ["A1", "A4"]);
        assert_eq!(passing("role:builder is:stale"), ["A4"]);
        assert_eq!(passing("is:blocked,stale"), ["A2", "A4"]);
        assert_eq!(passing("status:ready,done"), ["A1", "A3"]);
        assert_eq!(passing("prio:<3 -is:blocked"), ["A1"]);
        assert_eq!(passing("prio:>=3"), ["A3", "A4"]);
        assert_eq!(passing("pars"), ["A1", "A3"]);
        assert_eq!(passing("PARS a1"), ["A1"]);
        assert_eq!(passing(""), ["A1", "A2", "A3", "A4"]);
    }

    #[test]
    fn a_wrong_term_names_what_there_is() {
        let failure = parse("is:runing").expect_err("not known");
        assert!(failure.message.contains("running, stale"), "{failure:?}");
        assert_eq!(failure.hints, ["agentctl ls is:running"]);
        assert!(parse("prio:high").is_err());
        let failure = parse("rol:builder").expect_err("not known");
        assert_eq!(failure.hints, ["agentctl ls role:builder"]);
        assert!(parse("fix: http://example.invalid").is_ok(), "words of a title");
    }
}
