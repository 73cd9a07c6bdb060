//! Schedules on a clock that the test sets.

use super::*;
use crate::{
    Now, Status,
    policy::Policy,
    tests::{snapshot, task},
};

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { format!("{text}:00Z") };
    text.parse().expect("a time")
}

fn berlin(cron: &str) -> Times {
    Times::parse(cron, "Europe/Berlin").expect("times")
}

fn shown(times: impl IntoIterator<Item = DateTime<Utc>>) -> Vec<String> {
    times.into_iter().map(|time| time.format("%m-%d %H:%M").to_string()).collect()
}

fn cron(text: &str) -> Schedule {
    Schedule {
        name: "daily".into(),
        when: When::Cron(Box::new(Times::parse(text, "UTC").expect("times"))),
        catch_up: CatchUp::Once,
        overlaps: false,
        then: Deed { task: Some(Wanted { title: "Look".into(), ..Wanted::default() }), ..Deed::default() },
    }
}

fn every(text: &str) -> Schedule {
    Schedule { when: When::Every(text::parse_duration(text).expect("a time")), ..cron("0 9 * * *") }
}

/// A fleet with schedules, on a clock that is set.
struct Scene {
    now: Snapshot,
    flow: Workflow,
}

impl Scene {
    fn new(schedules: Vec<Schedule>, from: &str) -> Self {
        let flow = Workflow::shipped().under(Policy { schedules, ..Policy::default() });
        let mut scene = Self { now: snapshot(Vec::new()), flow };
        assert_eq!(scene.at(from), ["set"], "it counts from when it is first seen");
        scene
    }

    /// Looks at a time; answers what came of it, and sees that a second look brings nothing.
    fn at(&mut self, time: &str) -> Vec<String> {
        self.now.now = Now::new(at(time), self.now.now.mono);
        let changes = decide(&self.now, &self.flow);
        self.now.advance(&changes);
        assert_eq!(decide(&self.now, &self.flow), ChangeSet::none(), "once is enough, whoever looks");
        let said = changes.events.iter().filter_map(|event| match &event.data {
            Data::ScheduleSet(_) => Some("set".to_owned()),
            Data::ScheduleFired(said) => {
                let late = if said.late { " late" } else { "" };
                Some(format!("fired {}{late}", said.made.as_deref().unwrap_or_default()))
            }
            Data::ScheduleMissed(said) => Some(format!(
                "missed {}: {}",
                said.missed.unwrap_or_default(),
                said.reason.as_deref().unwrap_or_default()
            )),
            _ => None,
        });
        said.collect()
    }

    fn finish(&mut self, id: &str) {
        let queue = std::sync::Arc::make_mut(&mut self.now.queue);
        queue.edit(&TaskId::parse(id).expect("an id"), |task| task.status = Status::DONE);
    }
}

#[test]
fn a_text_that_never_comes_or_would_be_counted_up_to_is_refused_with_what_is_wrong() {
    let wrong = |text: &str| Times::parse(text, "UTC").expect_err(text).to_string();
    assert_eq!(wrong("0 0 30 2 *"), "is `0 0 30 2 *`, which never comes");
    assert_eq!(wrong("0 0 1--100000000 * *"), "is `0 0 1--100000000 * *`; `1--100000000` is no day of the month");
    assert_eq!(wrong("0 25 * * *"), "is `0 25 * * *`; `25` is no hour");
    assert_eq!(wrong("*/0 * * * *"), "is `*/0 * * * *`; `*/0` is no minute");
    assert_eq!(wrong("0 9 * * mun"), "is `0 9 * * mun`; `mun` is no day of the week");
    let form = "expected five fields (minute, hour, day of the month, month, day of the week), or @hourly, @daily, @weekly, @monthly, @yearly";
    for text in ["", "* * * *", "0 0 9 * * 1", "@often", &"1,".repeat(200)] {
        assert!(wrong(text).ends_with(form), "{text}: {}", wrong(text));
    }
    assert!(Times::parse("0 9 * * 1", "Europe/Berlim").expect_err("no zone").to_string().contains("`Europe/Berlim`"));
    for text in ["0 9 * * 1", "*/15 8-18 * * mon-fri", "0 0 29 2 *", "0 12 L * *", "@weekly"] {
        Times::parse(text, "Europe/Berlin").expect(text);
    }
}

#[test]
fn a_named_hour_comes_once_in_the_night_that_leaves_it_out_and_in_the_one_that_has_it_twice() {
    let times = berlin("30 2 * * *");
    // On 29 March the clock goes from 2 to 3, on 25 October from 3 back to 2.
    assert_eq!(
        shown(times.upcoming(at("2026-03-27"), 4)),
        ["03-27 01:30", "03-28 01:30", "03-29 01:00", "03-30 00:30"]
    );
    assert_eq!(
        shown(times.upcoming(at("2026-10-23"), 4)),
        ["10-23 00:30", "10-24 00:30", "10-25 00:30", "10-26 01:30"]
    );
    for (from, upto) in [("2026-03-27", "2026-03-31"), ("2026-10-23", "2026-10-27")] {
        let ahead: Vec<_> = times.upcoming(at(from), 20).take_while(|time| *time < at(upto)).collect();
        let mut back = Vec::new();
        let mut time = times.previous(at(upto));
        while let Some(found) = time.filter(|found| *found > at(from)) {
            back.insert(0, found);
            time = times.previous(found - chrono::Duration::seconds(1));
        }
        assert_eq!(ahead, back, "backwards they are the same");
    }
}

#[test]
fn what_runs_every_hour_goes_on_as_time_does_over_both_changes() {
    let times = berlin("0 * * * *");
    for day in ["2026-03-29", "2026-10-25"] {
        let all: Vec<_> = times.upcoming(at(day) - chrono::Duration::hours(2), 8).collect();
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] == chrono::Duration::hours(1)), "{:?}", shown(all));
    }
}

#[test]
fn a_run_is_put_off_by_its_name_alone_and_less_than_to_the_next() {
    let offset = |name| cron("0 9 * * *").put_off_for_test("10m", name).offset;
    assert_eq!(offset("a"), offset("a"));
    let all: std::collections::BTreeSet<_> = ["a", "b", "c", "d"].map(offset).into();
    assert!(all.len() > 1 && all.iter().all(|offset| *offset <= Duration::from_secs(600)), "{all:?}");
    let wide = Times::parse("*/5 * * * *", "UTC").expect("times").put_off(Duration::from_secs(300), "a");
    assert_eq!(wide.expect_err("too wide").to_string(), "is 5m, and the next run may come before that");
    let mut late = cron("0 9 * * *");
    late.when = When::Cron(Box::new(late.put_off_for_test("10m", "b")));
    let due = late.upcoming(None, at("2026-01-05"), 1)[0];
    assert!(due > at("2026-01-05T09:00") && due <= at("2026-01-05T09:10"), "{due}");
    let mut scene = Scene::new(vec![late], "2026-01-05");
    assert_eq!(scene.at("2026-01-05T09:00"), [""; 0]);
    assert_eq!(scene.at("2026-01-05T09:11"), ["fired daily-20260105-0900"]);
}

impl Schedule {
    fn put_off_for_test(&self, jitter: &str, name: &str) -> Times {
        let When::Cron(times) = &self.when else { panic!("by the clock") };
        Times::clone(times).put_off(text::parse_duration(jitter).expect("a time"), name).expect("put off")
    }
}

#[test]
fn each_run_makes_its_task_once_over_restarts_and_whoever_looks() {
    let mut scene = Scene::new(vec![cron("0 9 * * *")], "2026-01-05");
    assert_eq!(scene.at("2026-01-05T08:59"), [""; 0]);
    assert_eq!(scene.at("2026-01-05T09:00"), ["fired daily-20260105-0900"]);
    let made = scene.now.queue.find("daily-20260105-0900").expect("there");
    assert_eq!((made.title.as_str(), &made.status, made.kind.as_deref()), ("Look", &Status::NEEDS_PLAN, Some("Story")));
    scene.finish("daily-20260105-0900");
    assert_eq!(scene.at("2026-01-05T23:00"), [""; 0]);
    assert_eq!(scene.at("2026-01-06T09:01"), ["fired daily-20260106-0900"]);
}

#[test]
fn a_crash_between_the_task_and_the_journal_makes_no_second_one() {
    let mut scene = Scene::new(vec![cron("0 9 * * *")], "2026-01-05");
    std::sync::Arc::make_mut(&mut scene.now.queue).push(task("daily-20260105-0900", Status::NEEDS_PLAN));
    assert_eq!(scene.at("2026-01-05T09:00"), ["fired daily-20260105-0900"]);
    assert_eq!(scene.now.queue.tasks().count(), 1);
}

#[test]
fn what_nobody_was_up_for_is_made_good_once_or_told_and_never_silent() {
    let nobody = "nobody was up when they were due";
    let mut scene = Scene::new(vec![cron("0 9 * * *")], "2026-01-05");
    let late = format!("missed 3: {nobody}");
    assert_eq!(scene.at("2026-01-08T20:00"), [late.as_str(), "fired daily-20260108-0900 late"]);
    let mut scene = Scene::new(vec![Schedule { catch_up: CatchUp::None, ..cron("0 9 * * *") }], "2026-01-05");
    assert_eq!(scene.at("2026-01-08T20:00"), ["missed 4: nobody was up when it was due"]);
    assert_eq!(scene.at("2026-01-09T09:02"), ["fired daily-20260109-0900"]);
    assert_eq!(scene.now.history.schedules["daily"].missed, 4);
    // A year of minutes is not counted to its end.
    let mut scene = Scene::new(vec![cron("* * * * *")], "2026-01-05");
    assert_eq!(scene.at("2027-01-05T00:00"), [&format!("missed 1000: {nobody}"), "fired daily-20270105-0000"]);
}

#[test]
fn a_clock_that_is_put_back_makes_nothing_fire_twice_and_holds_nothing_up_for_ever() {
    let mut scene = Scene::new(vec![Schedule { overlaps: true, ..cron("0 * * * *") }], "2026-01-05");
    assert_eq!(
        scene.at("2026-01-05T09:00"),
        ["missed 8: nobody was up when they were due", "fired daily-20260105-0900"]
    );
    for time in ["2026-01-05T07:00", "2026-01-05T08:00", "2026-01-05T09:00"] {
        assert_eq!(scene.at(time), [""; 0], "{time}");
    }
    assert_eq!(scene.at("2026-01-05T10:00"), ["fired daily-20260105-1000"]);
    // It was a year ahead: what it says from then on counts.
    let mut scene = Scene::new(vec![cron("0 * * * *")], "2027-01-05");
    assert_eq!(scene.at("2026-01-05T09:30"), ["set"]);
    assert_eq!(scene.at("2026-01-05T10:00"), ["fired daily-20260105-1000"]);
}

#[test]
fn a_run_waits_for_no_task_of_the_one_before_unless_it_may_overlap() {
    let mut scene = Scene::new(vec![cron("0 9 * * *")], "2026-01-05");
    assert_eq!(scene.at("2026-01-05T09:00"), ["fired daily-20260105-0900"]);
    let told = ["missed 1: its last task, daily-20260105-0900, is `needs_plan`"];
    assert_eq!(scene.at("2026-01-06T09:00"), told);
    scene.finish("daily-20260105-0900");
    assert_eq!(scene.at("2026-01-07T09:00"), ["fired daily-20260107-0900"]);
    let mut scene = Scene::new(vec![Schedule { overlaps: true, ..cron("0 9 * * *") }], "2026-01-05");
    assert_eq!(scene.at("2026-01-05T09:00"), ["fired daily-20260105-0900"]);
    assert_eq!(scene.at("2026-01-06T09:00"), ["fired daily-20260106-0900"]);
}

#[test]
fn an_interval_counts_from_the_last_run() {
    let mut scene = Scene::new(vec![Schedule { overlaps: true, ..every("2h") }], "2026-01-05T08:00");
    assert_eq!(scene.at("2026-01-05T09:59"), [""; 0]);
    assert_eq!(scene.at("2026-01-05T10:00"), ["fired daily-20260105-1000"]);
    // Whoever was to look was late: the next is two hours after that.
    assert_eq!(scene.at("2026-01-05T12:05"), ["fired daily-20260105-1200"]);
    assert_eq!(scene.at("2026-01-05T14:04"), [""; 0]);
    assert_eq!(scene.at("2026-01-05T14:05"), ["fired daily-20260105-1405"]);
    let told = "missed 4: nobody was up when they were due";
    assert_eq!(scene.at("2026-01-06T00:10"), [told, "fired daily-20260105-1605 late"]);
}

#[test]
fn times_that_are_changed_count_from_then_on() {
    let mut scene = Scene::new(vec![cron("0 9 * * *")], "2026-01-05");
    let schedules = vec![cron("0 7 * * *")];
    scene.flow = Workflow::shipped().under(Policy { schedules, ..Policy::default() });
    assert_eq!(scene.at("2026-01-05T12:00"), ["set"], "what would have been due before is not made good");
    assert_eq!(scene.at("2026-01-06T07:00"), ["fired daily-20260106-0700"]);
}

#[test]
fn the_next_times_are_known_and_a_worker_wakes_for_the_first() {
    let scene = Scene::new(vec![Schedule { name: "a".into(), ..cron("0 9 * * 1") }], "2026-01-06");
    let schedule = &scene.flow.policy().schedules[0];
    let ran = scene.now.history.schedules.get("a");
    let next = schedule.upcoming(ran, scene.now.now.wall, 3);
    assert_eq!(shown(next), ["01-12 09:00", "01-19 09:00", "01-26 09:00"]);
    assert_eq!(next_of(&scene), Some(at("2026-01-12T09:00")));
}

#[test]
fn a_run_that_is_held_although_it_is_due_wakes_nobody_again_and_again() {
    let mut scene = Scene::new(vec![every("2h")], "2026-01-05T08:00");
    assert_eq!(next_of(&scene), Some(at("2026-01-05T10:00")));
    scene.now.now = Now::new(at("2026-01-05T11:00"), scene.now.now.mono);
    assert_eq!(next_of(&scene), None);
}

fn next_of(scene: &Scene) -> Option<DateTime<Utc>> {
    super::next(&scene.now, &scene.flow)
}
