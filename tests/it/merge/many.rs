//! Several branches: batches, halving, many batches at once.

use super::*;

#[test]
fn several_go_upon_each_other_and_the_gates_run_once() {
    let scene = Scene::new();
    for n in 1..=5 {
        scene.branch(&format!("b{n}"), &[(&format!("{n}.txt"), "x\n")]);
    }
    let orders: Vec<MergeRequest> = (1..=5).map(|n| order(&format!("T{n}"), &format!("b{n}"))).collect();
    let mut runs = 0;
    let mut gates = |_: &Path| {
        runs += 1;
        Ok(())
    };
    let report = merge::batch(&scene.line, &orders, &mut gates);
    assert_eq!(runs, 1);
    assert!(report.stopped.is_none() && report.done.len() == 5, "{report:?}");
    for (task, result) in &report.done {
        let merged = result.as_ref().unwrap();
        assert_eq!(merged.tag.as_deref(), Some(format!("{task}-complete").as_str()));
    }
    assert_eq!(scene.git(&["rev-list", "--first-parent", "--count", "main"]), "6");
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn a_red_batch_is_halved_and_only_the_guilty_stay_out() {
    let scene = Scene::new();
    for n in 1..=8 {
        scene.branch(&format!("b{n}"), &[(&format!("{n}.txt"), "x\n")]);
    }
    scene.branch("clash", &[("1.txt", "other\n")]);
    let mut orders: Vec<MergeRequest> = (1..=8).map(|n| order(&format!("T{n}"), &format!("b{n}"))).collect();
    orders.push(order("T9", "clash"));
    orders.push(order("T10", "gone"));
    let mut gates =
        |tree: &Path| if tree.join("3.txt").exists() || tree.join("6.txt").exists() { red("x") } else { Ok(()) };
    let Report { done, stopped } = merge::batch(&scene.line, &orders, &mut gates);
    assert!(stopped.is_none(), "{stopped:?}");
    for (task, result) in &done {
        let as_expected = match task.as_str() {
            "T3" | "T6" => matches!(result, Err(MergeError::GatesRed { .. })),
            "T9" => matches!(result, Err(MergeError::Conflict { .. })),
            "T10" => matches!(result, Err(MergeError::NoBranch { .. })),
            _ => result.is_ok(),
        };
        assert!(as_expected, "{task}: {result:?}");
    }
    assert_eq!(done.len(), 10);
    let tree = scene.git(&["ls-tree", "--name-only", "main"]);
    assert_eq!(tree.replace('\n', " "), "1.txt 2.txt 4.txt 5.txt 7.txt 8.txt base.txt");
    scene.is_clean();
    scene.is_swept();
}

#[test]
fn many_at_once_lose_nothing_and_double_nothing() {
    let scene = Scene::new();
    // Each edits its own line of one file and adds its own; two pairs edit the same line.
    let line_of = |n: usize| if n > 10 { n - 10 } else { n } * 2;
    for n in 1..=12_usize {
        scene.branch(
            &format!("b{n}"),
            &[("base.txt", &changed(line_of(n) + 4, &format!("of {n}"))), (&format!("f{n}.txt"), "x\n")],
        );
    }
    fs::write(scene.repo().join("untracked.txt"), "mine\n").unwrap();
    let policies = [Policy::MergeCommit, Policy::Squash, Policy::Rebase];
    let results: Vec<(usize, Result<Merged, MergeError>)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=12_usize)
            .map(|n| {
                let mut line = scene.line.clone();
                line.policy = policies[n % 3];
                scope.spawn(move || {
                    loop {
                        let result = merge_one(&line, &order(&format!("T{n}"), &format!("b{n}")), &mut green);
                        if !matches!(result, Err(MergeError::MovedOn)) {
                            return (n, result);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (n, result) in &results {
        let merged = !scene.git(&["ls-tree", "--name-only", "main", &format!("f{n}.txt")]).is_empty();
        assert_eq!(result.is_ok(), merged, "{n}: {result:?}");
        assert_eq!(holds(scene.repo(), "main", &format!("b{n}")).unwrap(), merged, "{n}");
        let log = scene.git(&["log", "--first-parent", "--format=%(trailers:key=Oodatcaa-Source,valueonly)", "main"]);
        let source = scene.head(&format!("b{n}"));
        let commits = log.lines().filter(|line| *line == source).count();
        let each = if policies[n % 3] == Policy::Rebase { 2 } else { 1 };
        assert_eq!(commits, if merged { each } else { 0 }, "{n}");
        if let Err(error) = result {
            assert!(matches!(error, MergeError::Conflict { .. }), "{n}: {error:?}");
        }
    }
    assert_eq!(results.iter().filter(|(_, result)| result.is_ok()).count(), 10, "{results:?}");
    assert_eq!(scene.git(&["status", "--porcelain"]), "?? untracked.txt");
    scene.is_swept();
}
