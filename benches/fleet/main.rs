//! `make bench`: what this program takes, as ratios against floors and peers that are measured in the same run.
//!
//! Machines are shared and noisy: the ratios count, and the spread beside them. `BENCH_QUICK=1` takes a minute,
//! `BENCH_ONLY=dispatch,idle` some of the measures, `BENCH_OUT=FILE` writes the table there as well. The peers come
//! from `scripts/install-bench-peers.sh`, or from `PATH`; one that is absent is left out with a line.

#![expect(clippy::print_stdout, reason = "its table is for people")]

mod claims;
mod confined;
mod contention;
mod dispatch;
mod idle;
mod own;
mod peers;
mod support;
mod table;
mod throughput;
mod verbs;

use support::{monotonic, quick};
use table::Table;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // The agent of the measurements: notes when its `main` began, in the file that it is given.
    if args.get(1).is_some_and(|arg| arg == "--stamp") {
        let now = monotonic();
        let temp = format!("{}.new", args[2]);
        std::fs::write(&temp, now.to_string()).expect("the stamp is written");
        std::fs::rename(temp, &args[2]).expect("the stamp is put");
        return;
    }
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
    let mut table = Table::new();
    type Measure = fn(&mut Table);
    let measures: [(&str, Measure); 11] = [
        ("idle", idle::idle),
        ("start", idle::start),
        ("dispatch", dispatch::dispatch),
        ("throughput", throughput::throughput),
        ("claims", claims::claims),
        ("unchanged", claims::unchanged),
        ("contention", contention::contention),
        ("heartbeats", contention::heartbeats),
        ("verbs", verbs::verbs),
        ("own", own::own),
        ("confined", confined::start),
    ];
    for (name, measure) in measures {
        if wanted(name) {
            measure(&mut table);
        }
    }
    let text = table.markdown(quick());
    println!("{text}");
    if let Some(path) = std::env::var_os("BENCH_OUT") {
        std::fs::write(&path, text).expect("BENCH_OUT can be written");
    }
}
