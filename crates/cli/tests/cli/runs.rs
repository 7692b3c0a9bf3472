//! Runs from start to end: training, stopping, going on, measuring, predicting.

use crate::common::{Folder, LINEAR, check_failed, number, png};
use std::time::{Duration, Instant};

const MODEL: &str = "train --model linear.toml --data digits:90 --batch 20";

#[test]
fn from_training_to_prediction() {
    let folder = Folder::new("spine");
    folder.write("linear.toml", LINEAR);
    let output = folder.succeed(&format!("{MODEL} --epochs 3 --out run --json"));
    let last = output.lines().last().unwrap();
    assert_eq!(output.lines().count(), 5, "start, three epochs, end: {output}");
    let accuracy = number(last, "val_accuracy");
    assert!((0.0..=1.0).contains(&accuracy) && number(last, "val_loss") > 0.0, "{last}");
    assert!(
        number(last, "seconds") > 0.0 && number(last, "samples_per_s") > 0.0 && last.contains("run"),
        "{last}"
    );
    let metrics = String::from_utf8(folder.read("run/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 4, "{metrics}");
    assert_eq!(folder.read("run/model.safetensors"), folder.checkpoint("run", "model.safetensors"));

    let measured = folder.succeed("eval run --json");
    assert_eq!(number(measured.lines().last().unwrap(), "test_accuracy"), accuracy);
    let text = folder.succeed("eval run --data digits:60");
    assert!(text.contains("accuracy") && text.contains("10 samples"), "{text}");

    let mut picture = vec![255; 30 * 30];
    for row in 5..25 {
        picture[row * 30 + 14..row * 30 + 17].fill(0);
    }
    folder.write("one.png", png(30, 30, &picture));
    let text = folder.succeed("predict run one.png one.png");
    assert!(text.lines().count() == 2 && text.starts_with("one.png") && text.contains('%'), "{text}");
    let line = folder.succeed("predict run one.png --json");
    let probability = number(line.trim(), "probability");
    assert!((0.1..=1.0).contains(&probability), "{line}");
    folder.write("pictures/below/two.png", folder.read("one.png"));
    let table = folder.succeed("predict run pictures one.png --csv");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("sample,class,probability,0,1,"), "{table}");
    assert!(lines[1].starts_with("pictures/below/two.png,") && lines[2].starts_with("one.png,"), "{table}");
    // What is broken is named, and the others are predicted.
    folder.write("broken.png", &folder.read("one.png")[..60]);
    let output = folder.run("predict run one.png broken.png none.png pictures --csv");
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(1) && said.lines().count() == 3, "{said}");
    assert_eq!(wrong.matches("error: ").count(), 2, "{wrong}");
    assert!(wrong.contains("error: broken.png: ") && wrong.contains("error: none.png: "), "{wrong}");
    check_failed("predict", &folder.run("predict run broken.png"));
    let rows = folder.succeed("predict run --data digits:60 --json");
    assert!(
        rows.lines().count() == 10 && number(rows.lines().next().unwrap(), "probability") > 0.0,
        "{rows}"
    );
}

#[test]
fn a_run_says_what_it_is_and_starts_another() {
    let folder = Folder::new("starts");
    folder.write("linear.toml", LINEAR);
    folder.succeed(&format!("{MODEL} --epochs 2 --keep-best val_accuracy --lr 0.5 --out first"));
    let text = folder.succeed("summary first");
    for part in
        ["flatten", "dense(10)", "1×28×28", "7,850", "data: digits:90", "optimizer: adam", "trained by: "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let row = folder.succeed("summary first --json");
    assert_eq!(number(row.trim(), "parameters"), 7850.0);
    let listing = folder.succeed("explain first --batch 7");
    assert!(listing.starts_with("predict: ") && listing.contains("f32[7, 10]"), "{listing}");
    let listing = folder.succeed("explain first --batch 7 --evaluation");
    assert!(listing.starts_with("evaluate: ") && listing.contains("i32[7]"), "{listing}");
    let (best, last) = (folder.succeed("eval first --best --json"), folder.succeed("eval first --json"));
    assert!(number(best.trim(), "test_accuracy") >= number(last.trim(), "test_accuracy"), "{best} {last}");

    // The same layers under another name; the second does not know what is left out.
    let other = LINEAR.replace("units = 10", "units = 10, name = 'head'");
    folder.write("other.toml", &other);
    let train =
        "train --model other.toml --data digits:90 --batch 20 --epochs 0 --from first/model.safetensors";
    let message = folder.fail(&format!("{train} --out second"));
    for part in [
        "2 missing: head.weight, head.bias",
        "2 unexpected: 1.bias, 1.weight",
        "--partly",
        "--rename PATTERN=NAME",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!folder.path().join("second").exists());
    let text = folder.succeed(&format!("{train} --rename 1.*=head.* --freeze head.weight --out second"));
    assert!(text.contains("weights: 2 loaded"), "{text}");
    let last = number(last.trim(), "test_loss");
    assert_eq!(number(folder.succeed("eval second --json").trim(), "test_loss"), last);
    let text = folder.succeed(&format!("{train} --rename 1.*=head.* --ignore *bias --partly --out third"));
    assert!(text.contains("weights: 1 loaded; 1 missing: head.bias"), "{text}");
    // Frozen weights stay, and the run goes on from its own.
    folder.succeed("train --resume second --epochs 1");
    let weights = |run: &str| {
        dropforge::run::read_safetensors(folder.path().join(run).join("model.safetensors")).unwrap()
    };
    let (first, second) = (weights("first"), weights("second"));
    assert!(first["1.weight"] == second["head.weight"] && first["1.bias"] != second["head.bias"]);
    let message = folder.fail("eval third --best");
    assert!(message.contains("--keep-best"), "{message}");
}

#[test]
fn files_stay_on_their_side_of_the_split() {
    let folder = Folder::new("split");
    folder.write("linear.toml", LINEAR);
    let write = |class: &str, number: u32| {
        let pixels: Vec<u8> = (0..64).map(|i| (i * number + class.len() as u32) as u8).collect();
        folder.write(&format!("pictures/{class}/{number}.png"), png(8, 8, &pixels));
    };
    for number in 0..12 {
        write("red", number);
        write("green", number);
    }
    let train = "train --model linear.toml --data folder:pictures --size 8 --batch 4 --epochs 1 --out run";
    folder.write("linear.toml", LINEAR.replace("10", "2"));
    folder.succeed(train);
    let split = |text: Vec<u8>| -> (Vec<String>, Vec<String>) {
        let table: dropforge::settings::Table = String::from_utf8(text).unwrap().parse().unwrap();
        let names = |side: &str| {
            table[side].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string()).collect()
        };
        (names("train"), names("test"))
    };
    let (first, second) = split(folder.read("run/split.toml"));
    assert!(first.len() + second.len() == 24 && !second.is_empty());
    // Those that are there change sides if a run's word does not count.
    let turned = format!("train = {second:?}\ntest = {first:?}\n");
    folder.write("run/split.toml", &turned);
    let measured = folder.succeed("eval run --json");
    assert_eq!(number(measured.trim(), "test_samples"), first.len() as f64);
    write("red", 99);
    let output = folder.run("train --resume run --epochs 2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 files are new since then, such as red/99.png"),
        "{said}"
    );
    let (now, then) = split(folder.read("run/split.toml"));
    assert!(second.iter().all(|name| now.contains(name)) && first.iter().all(|name| then.contains(name)));
    assert_eq!(now.len() + then.len(), 25);
    // The same files elsewhere are the same data; others are not, and nothing of them is noted.
    std::fs::rename(folder.path().join("pictures"), folder.path().join("moved")).unwrap();
    folder.succeed("train --resume run --epochs 3 --data folder:moved");
    std::fs::rename(folder.path().join("moved"), folder.path().join("other")).unwrap();
    std::fs::remove_file(folder.path().join("other/red/99.png")).unwrap();
    let config = folder.read("run/config.toml");
    let refused = folder.fail("train --resume run --epochs 4 --data folder:other");
    assert!(refused.contains("does not hold the files that the run was trained on"), "{refused}");
    assert_eq!(folder.read("run/config.toml"), config);
    // Of a run that does not say which files it was trained on, that is said.
    std::fs::rename(folder.path().join("other"), folder.path().join("moved")).unwrap();
    std::fs::remove_file(folder.path().join("run/split.toml")).unwrap();
    let measured = folder.run("eval run");
    let (out, said) = (String::from_utf8_lossy(&measured.stdout), String::from_utf8_lossy(&measured.stderr));
    assert!(out.contains("validation accuracy") && said.contains("does not say which files"), "{out}{said}");
}

/// What training has passed over does not stop what measures it.
#[test]
fn what_is_corrupt_is_passed_over_again() {
    let folder = Folder::new("corrupt");
    folder.write("two.toml", LINEAR.replace("10", "2"));
    for number in 0..60u32 {
        let class = ["red", "green"][number as usize % 2];
        let pixels: Vec<u8> = (0..64).map(|i| (i * number) as u8).collect();
        let mut picture = png(8, 8, &pixels);
        if number % 3 == 0 {
            // The start is that of a picture.
            picture.truncate(60);
        }
        folder.write(&format!("pictures/{class}/{number}.png"), picture);
    }
    let train = "train --model two.toml --data folder:pictures --size 8 --batch 4 --epochs 1";
    // Whether steps come before the first one that cannot be read is a matter of the order.
    assert!(folder.fail(&format!("{train} --out broken")).contains("png: "));
    folder.succeed(&format!("{train} --skip-corrupt --out run"));
    for line in [
        "eval run",
        "eval run --data folder:pictures",
        "predict run --data folder:pictures --csv",
        "report run",
    ] {
        let output = folder.run(line);
        let said = String::from_utf8_lossy(&output.stderr);
        let told = said.contains("note: passed over ") || said.contains("is left out: ");
        assert!(output.status.success() && told, "{line}: {said}");
    }
    // All that can be read, by their files, those trained on included.
    let rows = folder.succeed("predict run --data folder:pictures --csv");
    let mut files: Vec<&str> = rows.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    files.sort_unstable();
    let mut whole: Vec<String> = (0..60usize)
        .filter(|number| number % 3 != 0)
        .map(|number| format!("{}/{number}.png", ["red", "green"][number % 2]))
        .collect();
    whole.sort_unstable();
    assert_eq!(files, whole);
    folder.succeed("pack run --out one.dropforge");
    assert!(folder.fail("eval one.dropforge --data folder:pictures").contains("png: "));
    folder.succeed("eval one.dropforge --data folder:pictures --skip-corrupt");
}

#[test]
fn limits_are_those_of_the_whole_run() {
    let folder = Folder::new("limits");
    folder.write("linear.toml", LINEAR);
    for line in [&format!("{MODEL} --epochs 2 --max-steps 3 --out run"), "train --resume run"] {
        let said = folder.succeed(line);
        let how = "stopped after 3 steps: 3 steps have been made; all is saved, and `dropforge train --resume run --max-steps \
                   MORE` goes on";
        assert!(said.contains(how), "{said}");
    }
    assert!(folder.succeed("train --resume run --max-steps 100").contains("epoch 2/2"));
    let line = "train --model linear.toml --data digits:300 --epochs 100000 --max-time 0.2s --out time";
    for line in [line, "train --resume time"] {
        let said = folder.succeed(line);
        assert!(
            said.contains("0.2 seconds have passed") && said.contains("--resume time --max-time MORE"),
            "{said}"
        );
    }
    let steps = |run: &str| number(folder.succeed(&format!("runs {run} --json")).trim(), "steps");
    let before = steps("time");
    folder.succeed("train --resume time");
    assert_eq!(steps("time"), before);
}

/// What can be said is listed: by kind, and one thing in full.
#[test]
fn names_are_listed_with_their_settings() {
    let folder = Folder::new("listed");
    let settings = folder.succeed("list settings");
    // Tables of a configuration, and what every layer and schedule can say.
    for setting in ["lr_factor", "frozen_statistics", "rename", "warmup", "by = \"epoch\"", "classes", "ema"]
    {
        assert!(settings.lines().any(|line| line.trim_start().starts_with(setting)), "{setting}: {settings}");
    }
    let group = folder.succeed("list settings group");
    assert!(group.starts_with("group: `[[groups]]`") && group.contains("pattern"), "{group}");
    let optimizer = folder.succeed("list optimizers rmsprop");
    for part in ["known elsewhere as optim.RMSprop", "alpha", "0.99 by default", "from 0 "] {
        assert!(optimizer.contains(part), "{part}: {optimizer}");
    }
    assert!(!optimizer.contains("adamw"), "{optimizer}");
    assert_eq!(folder.succeed("list models vit-small"), folder.succeed("list models vit_small"));
    let json: serde_json::Value = serde_json::from_str(&folder.succeed("list layers dense --json")).unwrap();
    assert_eq!((json["kind"].as_str(), json["name"].as_str()), (Some("layers"), Some("dense")));
}

/// Every model can be looked at, and a file that lists layers.
#[test]
fn every_model_has_a_summary() {
    let folder = Folder::new("models");
    folder.write("linear.toml", LINEAR);
    let listed = folder.succeed("list models --json");
    let names = listed.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value["name"].as_str().unwrap().to_string()
    });
    let names: Vec<String> = names.chain(["linear.toml".to_string()]).collect();
    for name in &names {
        assert_eq!(
            folder.succeed(&format!("summary {name}")),
            folder.succeed(&format!("summary --model {name}"))
        );
    }
    // The large ones compile long.
    for name in ["linear.toml", "lstm-char", "gpt", "bert_tiny", "vae", "autoencoder", "unet", "dlrm"] {
        let listing = folder.succeed(&format!("explain {name} --batch 2"));
        assert!(listing.contains("kernels"), "{name}: {listing}");
    }
    folder.write(
        "tokens.toml",
        "layers = [{ type = 'embedding', count = 9, width = 4 }, 'flatten', { type = 'dense', units = 3 }]",
    );
    folder.write("deep.toml", "layers = [{ type = 'conv', channels = 2, kernel = 40 }]");
    folder.succeed("summary tokens.toml --input 7");
    assert!(folder.fail("explain deep.toml").contains("1x28x28, give their shape with --input"));
    assert!(folder.fail("summary nothing").contains("no model of that name"));
    folder.succeed("init own.toml --model linear.toml");
    folder.succeed("train --config own.toml --data digits:20 --epochs 1 --out run");
}

#[test]
fn a_profile_lists_the_kernels_of_every_batch_size() {
    let folder = Folder::new("profile");
    folder.write("linear.toml", LINEAR);
    let text = folder.succeed(&format!("{MODEL} --epochs 2 --out text --profile"));
    for what in
        ["batches of 20", "batches of 10", "measured peak", "the mean of 8 runs", "the mean of 2 runs", "dot"]
    {
        assert!(text.contains(what), "{what}: {text}");
    }
    let lines = folder.succeed(&format!("{MODEL} --epochs 1 --out lines --profile --json"));
    assert_eq!(lines.matches(r#""event":"profile""#).count(), 2, "{lines}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let folder = Folder::new("seed");
    folder.write("linear.toml", LINEAR);
    let weights = |run: &str, seed: u64| {
        folder.succeed(&format!("{MODEL} --epochs 1 --out {run} --seed {seed}"));
        folder.checkpoint(run, "model.safetensors")
    };
    let first = weights("a", 3);
    assert_eq!(first, weights("b", 3));
    assert_ne!(first, weights("c", 4));
}

#[test]
fn a_killed_run_goes_on_to_the_same_bits() {
    let folder = Folder::new("kill");
    folder.write(
        "net.toml",
        "layers = [{ type = 'flatten' }, { type = 'dense', units = 16 }, { type = 'batch_norm' }, { type = 'relu' },
            { type = 'dropout' }, { type = 'dense', units = 10 }]",
    );
    let line = "train --model net.toml --data digits:200 --batch 9 --epochs 6 --save-every 0";
    folder.succeed(&format!("{line} --out whole"));
    let mut kills = 0;
    let mut child = quiet(folder.command(&format!("{line} --out run")));
    // The first comes before the run can be over, however fast disk and machine are.
    for pause in [30, 150, 220, 310, 90, 400] {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(pause) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if !folder.path().join("run/config.toml").exists() {
            let _ = std::fs::remove_dir_all(folder.path().join("run"));
            child = quiet(folder.command(&format!("{line} --out run")));
        } else {
            child = quiet(folder.command("train --resume run --save-every 0"));
        }
    }
    assert!(child.wait().unwrap().success() && kills > 0);
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(
            folder.checkpoint("run", file),
            folder.checkpoint("whole", file),
            "{file} after {kills} kills"
        );
    }
}

/// Ctrl-C, and what systems send before they switch off: the step is finished, all is saved, and going on gives the
/// same bits.
#[test]
#[cfg(unix)]
fn a_signal_ends_training_when_all_is_saved() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new("signal");
    folder.write("linear.toml", LINEAR);
    let line = "train --model linear.toml --data digits:300 --batch 7 --schedule constant --save-every 1000";
    // Whoever started the tests may ignore it, as `nohup` does; then so does every child.
    let ignored = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?.trim().to_string();
        u64::from_str_radix(&mask, 16).ok()
    });
    let hangs_up = ignored.is_some_and(|mask| mask & 1 == 0);
    let signals = [("INT", "epoch 1/"), ("HUP", "epoch 1/"), ("TERM", "\"event\":\"epoch\"")];
    for (signal, begun) in signals.into_iter().filter(|(signal, _)| *signal != "HUP" || hangs_up) {
        let json = if begun.starts_with('"') { "--json" } else { "" };
        let mut command = folder.command(&format!("{line} --epochs 100000 --out {signal} {json}"));
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(begun)), "{signal}: no epoch was finished");
        let asked =
            std::process::Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()));
        let said: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success(), "{signal}: {said:?}");
        let said = said.iter().find(|line| line.contains("asked to stop")).expect("nothing is said");
        let listed = folder.succeed(&format!("runs {signal} --json"));
        let (steps, epochs) = (number(listed.trim(), "steps"), number(listed.trim(), "epochs"));
        if json.is_empty() {
            let how = format!("all is saved, and `dropforge train --resume {signal}` goes on");
            assert!(said.starts_with("stopped after ") && said.ends_with(&how), "{said}");
        } else {
            assert_eq!(number(said, "step"), steps);
        }
        let end = epochs + 1.0;
        folder.succeed(&format!("train --resume {signal} --epochs {end}"));
        folder.succeed(&format!("{line} --epochs {end} --out whole-{signal}"));
        for file in ["model.safetensors", "optimizer.safetensors"] {
            let same = folder.checkpoint(signal, file) == folder.checkpoint(&format!("whole-{signal}"), file);
            assert!(same, "{signal}: other bits in {file} after {steps} steps");
        }
    }
}

/// Training that ended by itself goes on where the message says how, and what never had a checkpoint is in nobody's
/// way.
#[test]
fn what_is_said_at_an_end_works() {
    let folder = Folder::new("ends");
    folder.write("linear.toml", LINEAR);
    let line = "train --model linear.toml --data digits:90 --batch 20 --epochs 9 --out run --lr 1e-30";
    let said = folder.succeed(&format!("{line} --monitor val_accuracy --patience 1"));
    assert!(
        said.contains(
            "1 epoch ago; all is saved, and `dropforge train --resume run --patience MORE` goes on"
        ),
        "{said}"
    );
    let said = folder.succeed("train --resume run --patience 3");
    assert!(
        said.contains("epoch 3/9") && said.contains("epoch 4/9") && !said.contains("epoch 5/9"),
        "{said}"
    );
    let diverging =
        "train --model linear.toml --data digits:90 --batch 20 --out new --optimizer sgd --save-every 1000";
    let refused = folder.fail(&format!("{diverging} --lr 1e30 --epochs 1"));
    assert!(refused.contains("lower learning rate") && !refused.contains(".dropforge-new"), "{refused}");
    folder.succeed(&format!("{diverging} --lr 0.01 --epochs 1"));
}

#[test]
fn resume_starts_a_run_that_was_killed_before_its_first_checkpoint() {
    let folder = Folder::new("early");
    folder.write("linear.toml", LINEAR);
    folder.succeed(&format!("{MODEL} --epochs 2 --out whole --seed 5"));
    folder.write("run/config.toml", folder.read("whole/config.toml"));
    folder.succeed("train --resume run");
    let weights = folder.checkpoint("whole", "model.safetensors");
    assert_eq!(folder.checkpoint("run", "model.safetensors"), weights);
    // A finished run has nothing left to do, and more epochs train on.
    folder.succeed("train --resume run");
    assert_eq!(folder.checkpoint("run", "model.safetensors"), weights);
    // The schedule was for two epochs: it has to be made longer, or the rate stays at its end, which is said.
    let idle = folder.run("train --resume run --epochs 3");
    let said = String::from_utf8_lossy(&idle.stderr).into_owned();
    assert!(said.contains("the learning rate is 0 from here on; --set schedule.length=3"), "{said}");
    assert_eq!(folder.checkpoint("run", "model.safetensors"), weights);
    folder.succeed("train --resume run --epochs 4 --set schedule.length=4");
    assert_ne!(folder.checkpoint("run", "model.safetensors"), weights);
}

#[test]
fn images_are_changed_in_training_only() {
    let folder = Folder::new("augment");
    folder.write("linear.toml", LINEAR);
    folder.write(
        "training.toml",
        "epochs = 1\n[data]\ntype = 'digits'\ncount = 600\n[[transforms]]\ntype = 'erase'\n",
    );
    folder.succeed(
        "train --config training.toml --set data.count=60 --model linear.toml --out run --augment standard",
    );
    let config = String::from_utf8(folder.read("run/config.toml")).unwrap();
    let at = |part: &str| config.find(part).unwrap_or_else(|| panic!("{part} is not in {config}"));
    assert!(at("\"erase\"") < at("\"random_crop\"") && at("\"random_crop\"") < at("\"rotate\""));
    assert!(config.contains("data = \"digits:60\""), "{config}");
    // Another augmentation is another training; evaluation has none, so that it gives the same twice.
    let refused = folder.fail("train --resume run --epochs 2 --augment flip");
    assert!(refused.starts_with("--resume: `transforms"), "{refused}");
    folder.succeed("train --resume run --epochs 2");
    let loss = |text: String| {
        text.split("validation loss").nth(1).map(|rest| rest.split(" on").next().unwrap().to_string())
    };
    assert_eq!(loss(folder.succeed("eval run")), loss(folder.succeed("eval run --batch 7")));
    folder.succeed("train --data digits:60 --model linear.toml --epochs 1 --out plain");
    let wrong = folder.fail("train --data digits:60 --augment flipp --out wrong");
    assert!(wrong.contains("unknown transform `flipp`; did you mean `flip`"), "{wrong}");
    // The step makes the same changes, and mixes samples.
    let train = "train --data digits:60 --model linear.toml --epochs 1";
    folder.succeed(&format!("{train} --augment standard,mixup,cutmix --augment-on device --out device"));
    folder.succeed("train --resume device --epochs 2");
    let written = |run: &str| String::from_utf8(folder.read(&format!("{run}/config.toml"))).unwrap();
    assert!(
        written("device").contains("augment_on = \"device\"")
            && written("run").contains("augment_on = \"host\"")
    );
    let wrong = folder.fail(&format!("{train} --augment blur --augment-on device --out wrong"));
    assert!(wrong.contains("blur is made on the host only"), "{wrong}");
    let listed = folder.succeed("list transforms") + &folder.succeed("list data --json");
    assert!(listed.contains("random_crop") && listed.contains("\"cifar10\""), "{listed}");
}

#[test]
fn samples_stay_on_the_device_and_train_to_the_same_bits() {
    let folder = Folder::new("on-device");
    folder.write("linear.toml", LINEAR);
    let train = "train --data digits:60 --model linear.toml --batch 16 --augment standard --epochs 2";
    folder.succeed(&format!("{train} --augment-on device --out host"));
    // Changes are then made in the step by themselves.
    folder.succeed(&format!("{train} --data-on-device --until-epoch 1 --out device"));
    let written = String::from_utf8(folder.read("device/config.toml")).unwrap();
    assert!(
        written.contains("data_on_device = true") && written.contains("augment_on = \"device\""),
        "{written}"
    );
    folder.succeed("train --resume device --data-on-device=false");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(folder.checkpoint("host", file), folder.checkpoint("device", file), "{file}");
    }
    let text = folder.succeed(&format!("{train} --data-on-device --dry-run"));
    assert!(text.contains(" for the samples to train on"), "{text}");
    let text = folder.succeed(&format!("{train} --dry-run --augment-on device"));
    assert!(!text.contains("samples to train on"), "{text}");
    let wrong = folder.fail(&format!("{train} --augment blur --data-on-device --out wrong"));
    assert!(wrong.contains("random_crop is made on the host while samples are read"), "{wrong}");
}

/// Starts a run whose output nobody is interested in.
fn quiet(mut command: std::process::Command) -> std::process::Child {
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[test]
fn a_text_is_learned_and_written_on() {
    let folder = Folder::new("text");
    folder.write("rhyme.txt", "the rain in spain stays mainly in the plain. ".repeat(60));
    folder.succeed(
        "train --model gpt --data text:rhyme.txt?length=16 --epochs 2 --batch 8 --out run --set model.width=16 \
         --set model.heads=2 --set model.layers=1 --set model.context=16",
    );
    let written = folder.succeed("sample run --prompt the --tokens 20 --temperature 0");
    assert!(
        written.starts_with("the") && written.trim_end_matches('\n').chars().count() == 23,
        "{written:?}"
    );
    assert_eq!(
        folder.succeed("sample run --prompt the --tokens 20 --seed 5"),
        folder.succeed("sample run --prompt the --tokens 20 --seed 5")
    );
    assert!(folder.fail("sample run --prompt THE").contains("--prompt"));
}

/// A run has the tokenizer that it was trained with: the file may go.
#[test]
#[cfg(feature = "tokenizers")]
fn a_text_is_learned_by_the_tokens_of_a_tokenizer() {
    let folder = Folder::new("tokenizer");
    folder.write("rhyme.txt", "the rain in spain stays mainly in the plain. ".repeat(60));
    let letters = ["a", "e", "h", "i", "l", "m", "n", "p", "r", "s", "t", "y", ".", "\u{120}"];
    let merges = [("t", "h"), ("th", "e"), ("i", "n"), ("a", "in"), ("\u{120}", "the"), ("\u{120}", "in")];
    let tokens =
        letters.iter().map(|letter| letter.to_string()).chain(merges.iter().map(|(a, b)| format!("{a}{b}")));
    let vocabulary: Vec<String> =
        tokens.enumerate().map(|(number, token)| format!("{token:?}: {number}")).collect();
    let merges: Vec<String> =
        merges.iter().map(|(left, right)| format!("{:?}", format!("{left} {right}"))).collect();
    let json = format!(
        "{{\"pre_tokenizer\": {{\"type\": \"ByteLevel\", \"add_prefix_space\": false}}, \"model\": {{\"type\": \"BPE\", \
         \"vocab\": {{{}}}, \"merges\": [{}]}}}}",
        vocabulary.join(", "),
        merges.join(", ")
    );
    folder.write("tokenizer.json", json);
    folder.succeed(
        "train --model gpt --data text:rhyme.txt?length=16&tokenizer=tokenizer.json --epochs 2 --until-epoch 1 --batch 8 \
         --out run --set model.width=16 --set model.heads=2 --set model.layers=1 --set model.context=16",
    );
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    folder.succeed("train --resume run");
    // So hot that all tokens come up.
    let sampled = "sample run --prompt the --tokens 40 --temperature 100";
    let written = folder.succeed(sampled);
    // Some tokens are several letters.
    assert!(written.starts_with("the") && written.trim_end_matches('\n').chars().count() > 43, "{written:?}");
    assert_eq!(folder.succeed(sampled), written);
    assert!(folder.succeed("eval run").contains("loss"));
    assert!(folder.succeed("eval run --data text:rhyme.txt?length=16").contains("loss"));
    let lacks = folder.fail("sample run --prompt THE");
    assert!(lacks.contains("--prompt: the tokenizer has no token for byte 0x54"), "{lacks}");
    let other = folder.fail("train --model gpt --data text:rhyme.txt?tokens=bytes&tokenizer=tokenizer.json");
    assert!(other.contains("`tokens` and `tokenizer` say two things"), "{other}");
}

#[test]
fn a_run_keeps_its_precision() {
    let folder = Folder::new("precision");
    let said = folder.succeed("train --model mlp --data digits:256 --epochs 1 --precision f16 --out run");
    assert!(said.contains("skipped_steps"), "{said}");
    let config = String::from_utf8(folder.read("run/config.toml")).unwrap();
    assert!(config.contains("precision = \"f16\""), "{config}");
    let error = folder.fail("train --resume run --epochs 2 --precision bf16");
    assert!(error.contains("`precision` was \"f16\""), "{error}");
    folder.succeed("train --resume run --epochs 2 --precision auto");
    let listing = folder.succeed("explain mlp --precision bf16");
    assert!(listing.starts_with("in bf16, sums in f32: dot"), "{listing}");
}

/// What a link points to is another folder's, whoever removes.
#[test]
#[cfg(unix)]
fn a_run_behind_a_link_is_not_removed() {
    let folder = Folder::new("linked");
    folder.write("linear.toml", LINEAR);
    for run in ["elsewhere", "runs/own"] {
        folder.succeed(&format!("train --model linear.toml --data digits:60 --epochs 1 --out {run}"));
    }
    std::os::unix::fs::symlink("../elsewhere", folder.path().join("runs/link")).unwrap();
    for line in ["runs rm runs/link --yes", "runs rm runs/link/ --yes", "runs rm runs/own runs/link --yes"] {
        let refused = folder.fail(line);
        assert!(
            refused.contains("runs/link: is a symbolic link to ../elsewhere; remove the link"),
            "{refused}"
        );
    }
    // The one that is left counts as one.
    assert!(folder.succeed("runs prune runs --keep 1 --yes").contains("nothing to remove"));
    assert!(folder.succeed("runs prune runs --keep 0 --yes").contains("runs/own is removed"));
    assert!(!folder.path().join("runs/own").exists());
    folder.succeed("eval elsewhere");
}

/// A run that has all that is asked for keeps its settings.
#[test]
fn a_run_with_nothing_left_keeps_its_settings() {
    let folder = Folder::new("nothing-left");
    folder.write("linear.toml", LINEAR);
    folder.succeed("train --model linear.toml --data digits:60 --epochs 2 --out run");
    let config = folder.read("run/config.toml");
    for line in ["--epochs 1", "--max-steps 1", "--epochs 1 --max-steps 1"] {
        let refused = folder.fail(&format!("train --resume run {line}"));
        assert!(refused.contains("run: it has trained 2 epochs already"), "{refused}");
        assert_eq!(folder.read("run/config.toml"), config, "{line}");
    }
    let refused = folder.fail("train --resume run --epochs 3 --max-steps 1");
    assert!(refused.contains(" steps already"), "{refused}");
    assert_eq!(folder.read("run/config.toml"), config);
}

/// Means of the weights are what a run is measured and used with, by flags and in files; it goes on from the weights to
/// the same bits.
#[test]
fn means_of_the_weights_are_kept() {
    let folder = Folder::new("means");
    folder.write("linear.toml", LINEAR);
    let train =
        "train --model linear.toml --data digits:60 --batch 10 --set schedule.type=constant --keep-best";
    let losses = |run: &str| -> Vec<f64> {
        let table = String::from_utf8(folder.read(&format!("{run}/metrics.csv"))).unwrap();
        let place = table.lines().next().unwrap().split(',').position(|name| name == "val_loss").unwrap();
        table.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().parse().unwrap()).collect()
    };
    folder.succeed(&format!("{train} --epochs 4 --out none"));
    for (run, flags) in [("ema", "--ema 0.9"), ("swa", "--swa-start 1")] {
        folder.succeed(&format!("{train} --epochs 4 --out {run}-straight {flags}"));
        folder.succeed(&format!("{train} --epochs 2 --out {run} {flags}"));
        let measured = number(folder.succeed(&format!("eval {run} --json")).trim(), "test_loss");
        assert!((measured - losses(run)[1]).abs() < 1e-6 && losses(run)[1] != losses("none")[1], "{run}");
        folder.succeed(&format!("pack {run} --out {run}.safetensors"));
        let predicted = |from: &str| folder.succeed(&format!("predict {from} --data digits:60"));
        assert_eq!(predicted(run), predicted(&format!("{run}.safetensors")), "{run}");
        folder.succeed(&format!("train --resume {run} --epochs 4"));
        for file in ["model.safetensors", "optimizer.safetensors"] {
            assert_eq!(
                folder.checkpoint(run, file),
                folder.checkpoint(&format!("{run}-straight"), file),
                "{run} {file}"
            );
        }
        assert_eq!(losses(run), losses(&format!("{run}-straight")), "{run}");
    }
    let refused = folder.fail("train --resume ema --epochs 5 --ema 0.99");
    assert!(refused.contains("`ema` was 0.9"), "{refused}");
    // An optimizer around the usual one, with the rate of that.
    folder.succeed(&format!("{train} --epochs 1 --optimizer lookahead --lr 0.01 --out ahead"));
    let config = String::from_utf8(folder.read("ahead/config.toml")).unwrap();
    assert!(config.contains("[optimizer.optimizer]") && config.contains("lr = 0.01"), "{config}");
}

#[test]
fn what_a_table_does_not_know_is_said_and_its_target_is_named() {
    let folder = Folder::new("unknown");
    let rows: String = (0..40).map(|i| format!("{i},{},{}\n", ["red", "blue"][i % 2], i * 3)).collect();
    folder.write("t.csv", format!("number,colour,\"price, net\"\n{rows}"));
    folder.write("one.toml", "layers = [{ type = 'dense', units = 1 }]");
    folder.succeed("train --model one.toml --data table:t.csv --epochs 1 --out run");
    folder.write("u.csv", "number,colour,\"price, net\"\n1,green,3\n2,red,6\n3,,9\n4,pink,9\n");
    for line in ["eval run --data table:u.csv", "predict run --data table:u.csv"] {
        let output = folder.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said,
            "note: column `colour`: 2 values that the model was not trained on, the first `green` in line 2; they count as \
             missing\n"
        );
    }
    let predicted = folder.succeed("predict run --data table:t.csv");
    assert!(predicted.starts_with("sample,\"price, net\"\n0,"), "{predicted}");
    assert_eq!(folder.run("predict run --data table:t.csv").stderr, b"");
}
