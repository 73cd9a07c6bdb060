//! All tasks together: lookup, dependencies, families, counts, and what is wrong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{
    Role, Status, Task, TaskId,
    cycles::{self, Cycles},
    sprint::Sprint,
};

/// Something wrong with a queue that does not stop the rest of it from working.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, from 1; 0 where it is not known.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The task, as it is written there.
    pub task: Option<String>,
    /// A short stable word: `bad_id`, `bad_type`, `cycle`, `missing_dependency`, …
    pub code: &'static str,
    /// The problem and its consequence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)
    }
}

/// The state of a task's dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waits {
    /// All done, or none named.
    No,
    /// On this one, which is on its way.
    On(TaskId, Status),
    /// On one that was cancelled: a human must decide.
    OnCancelled(TaskId),
    /// On one that is not in the queue.
    OnMissing(String),
    /// On itself.
    InCycle(Cycle),
}

/// A way from a task back to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The task itself and those that follow; where `among` says something, the beginning only.
    pub way: Vec<TaskId>,
    /// The number of tasks that wait for each other, where the way is too long to be told.
    pub among: Option<usize>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in &self.way {
            write!(f, "{id} → ")?;
        }
        match self.among {
            None => write!(f, "{}", self.way[0]),
            Some(all) => write!(f, "… → {} ({all} tasks wait for each other)", self.way[0]),
        }
    }
}

/// The queue, as far as the rules need it.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    tasks: Vec<Arc<Task>>,
    /// Shared between copies: ids seldom change, and every decision works on a copy.
    index: Arc<HashMap<TaskId, usize>>,
    /// The cycles of dependencies; found out when first asked.
    cycles: OnceLock<Cycles>,
    /// The places that lend others their urgency; found out when first asked.
    urged: OnceLock<HashMap<usize, usize>>,
    /// The places of the children of each place; found out when first asked.
    families: OnceLock<HashMap<usize, Vec<usize>>>,
    /// The `wip_limits` object.
    pub wip_limits: BTreeMap<String, u32>,
    /// The `metadata.*_tasks` counters that exist; `None` where the value is not a count.
    pub counters: BTreeMap<String, Option<u64>>,
    /// The sprint that it is the queue of.
    pub sprint: Sprint,
    /// The problems found when the file was read.
    pub problems: Vec<Problem>,
}

/// Compares the tasks, not what was worked out from them.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        let parts = |queue: &Self| (queue.wip_limits.clone(), queue.counters.clone(), queue.sprint.clone());
        self.tasks == other.tasks && parts(self) == parts(other) && self.problems == other.problems
    }
}

impl Queue {
    /// Puts tasks together; places are given in order. Ids must differ.
    pub fn of(tasks: Vec<Task>) -> Self {
        let mut queue = Self::default();
        for task in tasks {
            queue.push(task);
        }
        queue
    }

    /// Appends a task; answers `false`, and changes nothing, when the id is taken.
    pub fn push(&mut self, task: impl Into<Arc<Task>>) -> bool {
        let (mut task, place) = (task.into(), self.tasks.len());
        if self.index.contains_key(&task.id) {
            return false;
        }
        if task.place != place {
            Arc::make_mut(&mut task).place = place;
        }
        self.forget();
        Arc::make_mut(&mut self.index).insert(task.id.clone(), place);
        self.tasks.push(task);
        true
    }

    /// Takes entries of `tasks` out, with the subtasks inside them.
    pub(crate) fn remove(&mut self, ids: &[TaskId]) {
        let (ids, mut goes): (HashSet<&TaskId>, _) = (ids.iter().collect(), false);
        let mut kept = std::mem::take(&mut self.tasks);
        kept.retain(|task| {
            // Subtasks follow the entry that they stand in.
            goes = if task.nested { goes } else { ids.contains(&task.id) };
            !goes
        });
        self.forget();
        self.index = Arc::default();
        for task in kept {
            self.push(task);
        }
    }

    /// Returns all tasks in file order, subtasks after their parent.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &Task> {
        self.tasks.iter().map(AsRef::as_ref)
    }

    /// Returns how many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Tells whether there are no tasks.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns the task at a place.
    pub fn at(&self, place: usize) -> Option<&Arc<Task>> {
        self.tasks.get(place)
    }

    /// Returns a task by id.
    pub fn get(&self, id: &TaskId) -> Option<&Task> {
        self.find(id.as_str())
    }

    /// Returns a task by an id as somebody wrote it.
    pub fn find(&self, id: &str) -> Option<&Task> {
        self.index.get(id).map(|&at| &*self.tasks[at])
    }

    /// Changes a task in place; nothing happens when it is not there.
    pub fn edit(&mut self, id: &TaskId, change: impl FnOnce(&mut Task)) {
        if let Some(&at) = self.index.get(id) {
            self.forget();
            change(Arc::make_mut(&mut self.tasks[at]));
        }
    }

    /// Returns the WIP limit of a role: 1 where the file names none.
    pub fn wip_limit(&self, role: &Role) -> u32 {
        self.wip_limits.get(role.as_str()).copied().unwrap_or(1)
    }

    /// Returns the children of one task.
    pub fn children(&self, id: &TaskId) -> impl ExactSizeIterator<Item = &Task> {
        let families = self.families.get_or_init(|| {
            let mut families: HashMap<usize, Vec<usize>> = HashMap::new();
            for task in self.tasks() {
                let parent = task.parent.as_deref().and_then(|parent| self.index.get(parent).copied());
                if let Some(parent) = parent.filter(|&parent| parent != task.place) {
                    families.entry(parent).or_default().push(task.place);
                }
            }
            families
        });
        let mine = self.index.get(id).and_then(|place| families.get(place)).map_or(&[][..], Vec::as_slice);
        mine.iter().map(|&at| &*self.tasks[at])
    }

    /// Returns what a task waits for, the first of its dependencies that is not done.
    pub fn waits(&self, task: &Task) -> Waits {
        let mut first = Waits::No;
        for name in &task.dependencies {
            let waits = match self.find(name) {
                None => Waits::OnMissing(name.clone()),
                Some(other) if other.status.is_done() => continue,
                Some(other) if other.status == Status::CANCELLED => Waits::OnCancelled(other.id.clone()),
                Some(other) => Waits::On(other.id.clone(), other.status.clone()),
            };
            // What a human must mend is said before what will pass by itself.
            match (&first, &waits) {
                (Waits::No, _) | (Waits::On(..), Waits::OnMissing(_) | Waits::OnCancelled(_)) => first = waits,
                _ => {}
            }
        }
        match first {
            Waits::On(..) => self.cycle_of(task).map_or(first, Waits::InCycle),
            other => other,
        }
    }

    /// Tells whether every dependency is done.
    pub fn is_free(&self, task: &Task) -> bool {
        task.dependencies.iter().all(|name| self.find(name).is_some_and(|other| other.status.is_done()))
    }

    /// Returns the task that lends another its urgency: the most urgent of those that wait for it, also over others,
    /// where that is more urgent than itself.
    pub fn urged_by(&self, task: &Task) -> Option<&Task> {
        let urged = self.urged.get_or_init(|| cycles::urged(&self.ahead(), |at| self.tasks[at].priority));
        urged.get(self.index.get(&task.id)?).map(|&at| &*self.tasks[at])
    }

    /// Returns what tasks are claimed by, the smallest first: their priority, or that of a more urgent one that waits
    /// for them, then their place in the file.
    pub fn rank(&self, task: &Task) -> (i64, usize) {
        (self.urged_by(task).unwrap_or(task).priority, task.place)
    }

    /// Lets go of what was worked out from the tasks.
    fn forget(&mut self) {
        self.cycles.take();
        self.urged.take();
        self.families.take();
    }

    /// Returns the cycles among tasks that are not finished; found out when first asked.
    fn cycles(&self) -> &Cycles {
        self.cycles.get_or_init(|| Cycles::of(&self.ahead()))
    }

    /// Lists for each place those that it waits for, among tasks that are not finished.
    fn ahead(&self) -> Vec<Vec<usize>> {
        let open = |name: &String| self.index.get(name.as_str()).copied().filter(|&at| self.is_open(at));
        let ahead = |at: usize| self.tasks[at].dependencies.iter().filter_map(open).collect();
        (0..self.len()).map(|at| if self.is_open(at) { ahead(at) } else { Vec::new() }).collect()
    }

    fn is_open(&self, at: usize) -> bool {
        !self.tasks[at].status.is_finished()
    }

    /// Returns a way from a task back to itself over dependencies that are not done.
    fn cycle_of(&self, task: &Task) -> Option<Cycle> {
        let way = self.cycles().way(*self.index.get(&task.id)?)?;
        Some(Cycle { way: way.places.iter().map(|&at| self.tasks[at].id.clone()).collect(), among: way.among })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, status: Status, dependencies: &[&str]) -> Task {
        let mut task = Task::new(TaskId::parse(id).expect("a good id"), status);
        task.dependencies = dependencies.iter().map(|&d| d.into()).collect();
        task
    }

    fn waits(queue: &Queue, id: &str) -> Waits {
        queue.waits(queue.find(id).expect("there"))
    }

    #[test]
    fn a_task_waits_for_the_first_dependency_that_is_not_done() {
        let queue = Queue::of(vec![
            task("A", Status::DONE, &[]),
            task("B", Status::COMPLETED, &[]),
            task("C", Status::READY, &[]),
            task("D", Status::READY, &["A", "B", "C"]),
            task("E", Status::READY, &["A", "B"]),
        ]);
        assert_eq!(waits(&queue, "D"), Waits::On(TaskId::parse("C").expect("id"), Status::READY));
        assert_eq!(waits(&queue, "E"), Waits::No);
    }

    #[test]
    fn missing_and_cancelled_dependencies_are_told_before_those_on_their_way() {
        let queue = Queue::of(vec![
            task("A", Status::READY, &[]),
            task("B", Status::CANCELLED, &[]),
            task("C", Status::READY, &["A", "B"]),
            task("D", Status::READY, &["A", "ghost"]),
        ]);
        assert_eq!(waits(&queue, "C"), Waits::OnCancelled(TaskId::parse("B").expect("id")));
        assert_eq!(waits(&queue, "D"), Waits::OnMissing("ghost".into()));
    }

    #[test]
    fn a_cycle_is_told_with_its_way() {
        let queue = Queue::of(vec![
            task("A", Status::READY, &["B"]),
            task("B", Status::READY, &["C"]),
            task("C", Status::READY, &["A"]),
            task("D", Status::READY, &["A"]),
            task("S", Status::READY, &["S"]),
        ]);
        let way = |ids: &[&str]| {
            let way = ids.iter().map(|id| TaskId::parse(id).expect("id")).collect();
            Waits::InCycle(Cycle { way, among: None })
        };
        assert_eq!(waits(&queue, "A"), way(&["A", "B", "C"]));
        assert_eq!(waits(&queue, "S"), way(&["S"]));
        assert!(matches!(waits(&queue, "D"), Waits::On(..)), "D is behind the cycle, not in it");
    }

    #[test]
    fn of_a_long_cycle_the_beginning_is_told() {
        let name = |n: usize| format!("T{}", n % 500);
        let queue = Queue::of((0..500).map(|n| task(&name(n), Status::READY, &[&name(n + 1)])).collect());
        let Waits::InCycle(cycle) = waits(&queue, "T3") else { panic!("it is a cycle") };
        assert_eq!(cycle.to_string(), "T3 → T4 → T5 → T6 → … → T3 (500 tasks wait for each other)");
    }

    #[test]
    fn children_are_those_that_name_a_task_as_their_parent() {
        let mut tasks: Vec<Task> = ["A", "B", "C", "D"].map(|id| task(id, Status::READY, &[])).into();
        for (at, parent) in [(1, "A"), (2, "A"), (3, "D")] {
            tasks[at].parent = Some(parent.into());
        }
        let mut queue = Queue::of(tasks);
        let children = |queue: &Queue, id: &str| -> Vec<String> {
            queue.children(&TaskId::parse(id).expect("id")).map(|task| task.id.to_string()).collect()
        };
        assert_eq!(children(&queue, "A"), ["B", "C"]);
        assert!(children(&queue, "D").is_empty(), "nobody is a child of its own");
        queue.edit(&TaskId::parse("C").expect("id"), |task| task.parent = Some("D".into()));
        assert_eq!((children(&queue, "A"), children(&queue, "D")), (vec!["B".into()], vec!["C".into()]));
    }

    #[test]
    fn a_long_chain_of_dependencies_is_no_trouble() {
        let mut tasks = vec![task("T0", Status::READY, &[])];
        for n in 1..5_000 {
            tasks.push(task(&format!("T{n}"), Status::READY, &[&format!("T{}", n - 1)]));
        }
        let queue = Queue::of(tasks);
        assert!(matches!(waits(&queue, "T4999"), Waits::On(..)));
    }

    #[test]
    fn an_entry_goes_with_the_subtasks_inside_it_and_the_others_move_up() {
        let nested = |id: &str| Task { nested: true, ..task(id, Status::READY, &[]) };
        let plain = |id: &str| task(id, Status::READY, &[]);
        let mut queue = Queue::of(vec![plain("A"), nested("A-1"), plain("B"), plain("C"), nested("C-1"), plain("D")]);
        queue.remove(&["A", "C", "ghost"].map(|id| TaskId::parse(id).expect("id")));
        let left: Vec<(&str, usize)> = queue.tasks().map(|task| (task.id.as_str(), task.place)).collect();
        assert_eq!(left, [("B", 0), ("D", 1)]);
        assert_eq!((queue.find("D").map(|task| task.place), queue.find("A-1")), (Some(1), None));
    }

    #[test]
    fn an_id_is_taken_once() {
        let mut queue = Queue::of(vec![task("A", Status::READY, &[])]);
        assert!(!queue.push(task("A", Status::DONE, &[])));
        assert_eq!(queue.len(), 1);
    }
}
