//! Sweeps: what they try, how they end and go on, what is refused before the first trial.

use crate::common::{Folder, LINEAR, number};

#[test]
fn a_sweep_tries_all_and_goes_on() {
    let folder = Folder::new("sweep");
    folder.write("linear.toml", LINEAR);
    let space = "args = ['--model', 'linear.toml', '--data', 'digits:120', '--epochs', '2']\n\
                 monitor = 'highest val_accuracy'\n[space]\n'optimizer.lr' = [1e-9, 0.01]\nbatch = [20, 40]\n";
    folder.write("space.toml", space);
    let text = folder.succeed("sweep space.toml --jobs 2 --out swept");
    assert!(
        text.contains("trial 3: ") && text.lines().last().unwrap().contains("optimizer.lr = 0.01"),
        "{text}"
    );
    // What is finished is not repeated; what is gone is.
    folder.succeed("runs rm swept/trial-002 --yes");
    let text = folder.succeed("sweep space.toml --out swept");
    assert!(text.contains("trial 2: ") && !text.contains("trial 1: "), "{text}");
    assert_eq!(folder.succeed("sweep space.toml --out swept --json").lines().count(), 4);
    // The best third of nine has all its epochs, and one of those was best.
    let space = "args = ['--model', 'linear.toml', '--data', 'digits:120', '--epochs', '3']\n\
                 monitor = 'highest val_accuracy'\n[space]\n'optimizer.lr' = { low = 1e-6, high = 0.1, log = true }\n";
    folder.write("range.toml", space);
    let text = folder.succeed("sweep range.toml --random 9 --halving --jobs 2 --out halved --chart all.svg");
    let ended = text.lines().filter(|line| line.starts_with("trial-") && line.contains(" 3/3 ")).count();
    let short = text.lines().filter(|line| line.starts_with("trial-") && line.contains(" 1/3 ")).count();
    assert_eq!((ended, short), (3, 6), "{text}");
    assert!(text.contains("the best go on to epoch 3: trials"), "{text}");
    assert!(String::from_utf8(folder.read("all.svg")).unwrap().contains("optimizer.lr"));
    let text = folder.succeed("sweep range.toml --tpe 12 --out learned");
    assert!(text.contains("trial 11: optimizer.lr") && text.contains("best: trial-"), "{text}");
    // Beside other runs the trials are listed with their sweep's name, and belong to it when others are removed.
    folder.succeed("train --model linear.toml --data digits:60 --epochs 1 --out beside");
    let listed = folder.succeed("runs . --json");
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.split("\"name\":\"").nth(1)?.split('"').next()).collect();
    assert!(names.len() == 26 && names[0] == "beside" && names.contains(&"swept/trial-002"), "{names:?}");
    assert!(folder.succeed("runs . --filter name=halved/trial-000").contains("halved/trial-000  "));
    assert!(folder.succeed("runs prune . --keep 0 --yes").lines().count() == 1);
    assert!(!folder.path().join("beside").exists() && folder.path().join("swept/trial-002").exists());
    assert!(folder.fail("sweep linear.toml").contains("linear.toml: there is no setting `layers`"));
}

const SPACE: &str = "args = ['--model', 'linear.toml', '--data', 'digits:200', '--epochs', '100000', '--batch', '20']\n\
                     [space]\n'optimizer.lr' = [1e-3, 1e-4, 1e-5]\n";

/// Waits until trials train, each with a checkpoint behind it.
#[cfg(unix)]
fn until_trained(folder: &Folder, trials: &[&str]) {
    let started = std::time::Instant::now();
    let has_checkpoint = |trial: &&str| {
        let entries = std::fs::read_dir(folder.path().join("swept").join(trial)).into_iter().flatten();
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint-"))
    };
    while !trials.iter().all(has_checkpoint) {
        assert!(started.elapsed().as_secs() < 60, "no checkpoint of {trials:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The status of each trial, once no process trains one any more.
#[cfg(unix)]
fn statuses(folder: &Folder) -> Vec<(String, f64)> {
    let started = std::time::Instant::now();
    loop {
        let listed = folder.succeed("runs swept --json");
        if !listed.contains("\"training\"") {
            return listed
                .lines()
                .map(|line| {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    (value["status"].as_str().unwrap().to_string(), number(line, "steps"))
                })
                .collect();
        }
        assert!(started.elapsed().as_secs() < 60, "trials go on: {listed}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Waits until so many trials are being trained.
#[cfg(unix)]
fn until_training(folder: &Folder, trials: usize) {
    let started = std::time::Instant::now();
    while folder.succeed("runs swept --json").matches("\"training\"").count() < trials {
        assert!(started.elapsed().as_secs() < 60, "no trial is trained");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[cfg(unix)]
fn send(signal: &str, child: &std::process::Child) {
    let sent =
        std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// Ctrl-C and the like end a sweep when all trials have saved, and no trial outlives a sweep that is killed.
#[test]
#[cfg(unix)]
fn a_signal_ends_a_sweep_with_its_trials() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let folder = Folder::new("swept-away");
    folder.write("linear.toml", LINEAR);
    folder.write("space.toml", SPACE);
    let start = || {
        let mut command = folder.command("sweep space.toml --jobs 2 --out swept");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let child = start();
    until_trained(&folder, &["trial-000", "trial-001"]);
    // Another one in the same folder would train the same.
    assert!(folder.fail("sweep space.toml --out swept").contains("swept: another sweep trains here"));
    send("TERM", &child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.ends_with("stopped with 0 of 3 trials finished; all is saved, and the same command goes on\n"),
        "{said}"
    );
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("note: 2 of the trials finish their step and save")
    );
    let first = statuses(&folder);
    assert!(
        first.len() == 2 && first.iter().all(|(status, steps)| status == "stopped" && *steps > 0.0),
        "{first:?}"
    );
    // The same command goes on. Killed, it leaves nobody behind.
    let mut child = start();
    until_training(&folder, 2);
    send("KILL", &child);
    child.wait().unwrap();
    let second = statuses(&folder);
    assert!(
        second.iter().zip(&first).all(|(now, before)| now.0 == "stopped" && now.1 >= before.1),
        "{second:?}"
    );
    // Asked twice, in two ways, it ends at once, and so do they.
    let mut child = start();
    until_training(&folder, 2);
    send("TERM", &child);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("asking again ends them at once")));
    send("INT", &child);
    child.wait().unwrap();
    statuses(&folder);
}

#[test]
fn what_no_trial_can_have_is_refused_before_the_first() {
    let folder = Folder::new("unswept");
    folder.write("linear.toml", LINEAR);
    let args = "args = ['--model', 'linear.toml', '--data', 'digits:60', '--epochs', '1'";
    let lr = "[space]\n'optimizer.lr' = [0.1, 0.01]\n";
    for (space, expected) in [
        (format!("{args}]\nmonitor = 'val_acuracy'\n{lr}"), "`val_acuracy`; did you mean `val_accuracy`?"),
        (format!("{args}]\n[space]\n'optimizer.lrr' = [0.1]\n"), "no setting `lrr`; did you mean `lr`?"),
        (format!("{args}]\n[space]\n'batch' = ['many', 'few']\n"), "`batch`"),
        (
            format!("{args}, '--epoch', '3']\n{lr}"),
            "args: unexpected argument '--epoch' found; tip: a similar argument",
        ),
        (
            format!("{args}, '--patience', '2', '--monitor', 'val_lost']\n{lr}"),
            "`val_lost`; did you mean `val_loss`?",
        ),
        (format!("{args}, '--metrics', 'acuracy']\n{lr}"), "`acuracy`"),
    ] {
        folder.write("space.toml", space);
        for how in ["", "--tpe 3", "--random 3"] {
            let refused = folder.fail(&format!("sweep space.toml --out swept {how}"));
            assert!(refused.starts_with("space.toml: ") && refused.contains(expected), "{how}: {refused}");
        }
        let left = std::fs::read_dir(folder.path().join("swept")).into_iter().flatten().flatten();
        let left: Vec<_> = left.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // What only some cannot have is left out.
    folder.write("space.toml", format!("{args}]\n[space]\nbatch = [20, 0]\n"));
    let output = folder.run("sweep space.toml --out some");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("note: trial 1 (batch = 0) is left out: "), "{said}");
    // So it is where trials learn from those before.
    let output = folder.run("sweep space.toml --tpe 6 --out learned");
    let (said, trained) =
        (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    let left_out = said.matches(" (batch = 0) is left out: ").count();
    assert!(output.status.success() && left_out > 0 && !said.contains("failed"), "{said}");
    assert_eq!(
        (said.matches('\n').count(), trained.matches(": batch = 20\n").count() - 1),
        (left_out, 6 - left_out)
    );
    // What is watched may be measured in the validation alone.
    let ranked = format!("{args}, '--metrics', 'auc']\nmonitor = 'val_auc'\n[space]\nbatch = [20]\n");
    folder.write("ranked.toml", ranked);
    assert!(folder.succeed("sweep ranked.toml --out ranked").contains(" with val_auc 0."));
    // A run that is refused before its first step leaves no folder, either.
    folder.fail("train --model linear.toml --data digits:60 --epochs 1 --monitor val_acuracy --out refused");
    assert!(!folder.path().join("refused").exists());
}

/// A sweep goes on with its own trials alone, and a folder has those of one sweep.
#[test]
fn a_folder_has_the_trials_of_one_sweep() {
    let folder = Folder::new("sweep-own");
    folder.write("linear.toml", LINEAR);
    let train = "--model linear.toml --data digits:60 --epochs 1";
    let space = |args: &str, rates: &str| {
        let words = format!("{train} {args}");
        let words: Vec<String> = words.split_whitespace().map(|word| format!("'{word}'")).collect();
        format!("args = [{}]\n[space]\n'optimizer.lr' = {rates}\n", words.join(", "))
    };
    folder.write("space.toml", space("", "[0.001, 0.002]"));
    // A better run beside the trials is none of them.
    folder.succeed(&format!("train {train} --lr 0.01 --out swept/big"));
    let text = folder.succeed("sweep space.toml --out swept");
    assert!(text.contains("best: trial-00") && !text.contains("big"), "{text}");
    assert_eq!(folder.succeed("sweep space.toml --out swept --json").lines().count(), 2);
    // The list of the trials says what it is; one of an earlier version does not.
    let list = String::from_utf8(folder.read("swept/trials.toml")).unwrap();
    let (head, rest) = list.split_once('\n').unwrap();
    assert!(head.starts_with("# The trials of a sweep"), "{head}");
    folder.write("swept/trials.toml", rest.replace("\"trial-000\", ", ""));
    folder.succeed("runs rm swept/trial-000 --yes");
    folder.succeed("sweep space.toml --out swept");
    let again: Vec<u8> = folder.read("swept/trials.toml");
    assert!(String::from_utf8(again).unwrap().starts_with(head));
    for (args, rates, how, expected) in [
        ("--batch 20", "[0.001, 0.002]", "", "args was "),
        ("", "[0.001, 0.003]", "", "optimizer.lr was [0.001, 0.002] and is [0.001, 0.003]"),
        ("", "[0.001, 0.002]", "--random 2", "method was \"grid\" and is \"random\""),
    ] {
        folder.write("other.toml", space(args, rates));
        let refused = folder.fail(&format!("sweep other.toml --out swept {how}"));
        assert!(refused.starts_with("swept: holds the trials of another sweep ("), "{refused}");
        assert!(refused.contains(expected) && refused.ends_with("take another --out"), "{refused}");
    }
    folder.succeed("sweep space.toml --random 1 --out drawn");
    assert!(folder.fail("sweep space.toml --random 1 --seed 1 --out drawn").contains("seed was"));
    let refused = folder.fail("sweep space.toml --out swept/big");
    assert!(refused.contains("swept/big: is a run itself"), "{refused}");
    // A run that has the name of a trial.
    folder.succeed(&format!("train {train} --out foreign/trial-001"));
    let refused = folder.fail("sweep space.toml --out foreign");
    assert!(refused.starts_with("foreign/trial-001: holds a run that this sweep did not make"), "{refused}");
    assert!(!folder.path().join("foreign/trial-000").exists());
    for flag in ["--resume swept/big", "--out elsewhere", "--fast-dev-run", "--dry-run"] {
        folder.write("flag.toml", space(flag, "[0.1]"));
        let refused = folder.fail("sweep flag.toml --out flagged");
        let name = flag.split(' ').next().unwrap();
        assert!(refused.starts_with(&format!("flag.toml: args: {name} ")), "{refused}");
        assert!(!folder.path().join("flagged").exists());
    }
    for none in ["--random 0", "--tpe 0", "--halving 0"] {
        assert!(folder.fail(&format!("sweep space.toml --out none {none}")).contains("0"), "{none}");
        assert!(!folder.path().join("none").exists());
    }
}
