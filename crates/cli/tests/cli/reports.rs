//! What one sees of a run afterwards: lists, reports, charts; and what one tries before.

use crate::common::{Folder, LINEAR, number};

const TRAIN: &str = "train --model linear.toml --data digits:300 --batch 50 --metrics accuracy,f1,auc";

#[test]
fn runs_are_listed_compared_reported_and_removed() {
    let folder = Folder::new("reports");
    folder.write("linear.toml", LINEAR);
    folder.succeed(&format!("{TRAIN} --epochs 2 --out runs/one"));
    folder.succeed(&format!("{TRAIN} --epochs 1 --out runs/two --lr 0.05"));
    // A run with one epoch that was to have more.
    folder.succeed(&format!("{TRAIN} --epochs 9 --max-steps 7 --out runs/short"));

    let table = folder.succeed("runs --compare");
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("val_loss") && lines[0].contains("val_auc"), "{table}");
    assert!(
        lines[1].starts_with("one") && lines[1].contains("finished") && lines[1].contains("2/2"),
        "{table}"
    );
    assert!(lines[2].starts_with("short") && lines[2].contains("stopped"), "{table}");
    let rate = lines.iter().find(|line| line.starts_with("optimizer.lr ")).unwrap();
    assert!(rate.contains("0.05"), "{table}");
    assert!(!table.contains("\nbatch "), "settings that do not differ: {table}");
    let sorted = folder.succeed("runs --sort -epochs --json");
    assert!(sorted.lines().next().unwrap().contains("\"name\":\"one\""), "{sorted}");
    assert_eq!(number(sorted.lines().next().unwrap(), "epochs"), 2.0);
    let filtered = folder.succeed("runs --filter optimizer.lr=0.05 --json");
    assert!(filtered.lines().count() == 1 && filtered.contains("\"two\""), "{filtered}");
    let by_rate = folder.succeed("runs --sort -optimizer.lr --json");
    assert!(by_rate.lines().next().unwrap().contains("\"name\":\"two\""), "{by_rate}");
    let wrong = folder.fail("runs --sort optimizer.lrr");
    assert!(wrong.contains("no run has `optimizer.lrr`; did you mean `optimizer.lr`?"), "{wrong}");
    for (filter, expected) in [
        ("optimizer.lrr=0.05", "no run has the setting `optimizer.lrr`; did you mean `optimizer.lr`?"),
        (
            "optimizer=adam",
            "no run has the setting `optimizer`; did you mean `optimizer.lr`? There are `optimizer.amsgrad`,",
        ),
        ("lr", "write a setting and its value"),
    ] {
        let said = folder.fail(&format!("runs --filter {filter}"));
        assert!(said.contains(expected), "{filter}: {said}");
    }
    assert!(folder.succeed("runs --filter optimizer.lr=7").contains("none of the 3 runs is like that"));
    assert_eq!(folder.succeed("runs --filter status=stopped --json").lines().count(), 1);

    // A run without an epoch has taken no time, and a matrix is no percentage.
    folder.succeed("train --model linear.toml --data digits:60 --epochs 0 --out untrained/run");
    let listed = folder.succeed("runs untrained") + &folder.succeed("runs untrained --json");
    assert!(listed.contains(" 0.0 s") && listed.contains("\"seconds\":0.0"), "{listed}");
    let measured = folder.succeed(
        "train --model linear.toml --data digits:60 --epochs 1 --metrics confusion_matrix --out untrained/matrix",
    );
    assert!(!measured.contains('%') && measured.contains("was taken for:\n   0  1  2"), "{measured}");
    let text = folder.succeed("eval untrained/matrix");
    assert!(text.contains("was taken for:") && !text.contains('%'), "{text}");

    // A run that was stopped in its first epoch has curves, and a warm-up is seen.
    folder
        .succeed(&format!("{TRAIN} --epochs 9 --max-steps 4 --warmup 2 --validate-every 2 --out first/run"));
    let lines = String::from_utf8(folder.read("first/run/steps.jsonl")).unwrap();
    assert!(
        lines.contains("{\"point\":{\"step\":4,") && lines.contains("{\"validation\":{\"step\":2,"),
        "{lines}"
    );
    let chart = folder.succeed("plot first/run --what loss");
    assert!(chart.contains("training, within epochs") && chart.contains("validation"), "{chart}");
    assert!(folder.succeed("plot first/run --what lr").contains("step"));

    // The page holds all that there is, and asks for nothing outside.
    folder.succeed("report runs/one");
    let page = String::from_utf8(folder.read("runs/one/report.html")).unwrap();
    for part in [
        "<title>one</title>",
        "validation accuracy",
        ">f1<",
        "ROC",
        "Calibration",
        "true class",
        "Memory of intermediate",
        "<td>total</td>",
        "0: ",
        "digits",
        "cpu (",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(outside), "{outside} in the page");
    }
    for figure in ["loss", "f1", "roc", "confusion", "network", "memory", "classes"] {
        let svg = folder.succeed(&format!("plot runs/one --what {figure}"));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{figure}: {svg}");
    }
    let message = folder.fail("plot runs/one --what scatter");
    assert!(message.contains("shows predictions of numbers"), "{message}");
    let message = folder.fail("plot runs/one --what rok");
    assert!(message.contains("did you mean `roc`") && message.contains("auc"), "{message}");
    // What is not built in says how to have it, as the first page does.
    let install = "`cargo install --locked --path crates/cli --features tui,png`";
    if cfg!(not(feature = "png")) {
        let said = folder.fail("plot runs/one --what roc --out roc.png");
        assert!(said.contains(install) && said.contains(".svg"), "{said}");
    }
    if cfg!(not(feature = "tui")) {
        let said = folder.fail("train --data digits:60 --tui");
        assert!(said.contains(install), "{said}");
    }
    assert!(include_str!("../../../../README.md").contains(install.trim_matches('`')));

    // Removing asks, or is told not to; what no run wrote stays.
    let message = folder.fail("runs rm runs/one");
    assert!(message.contains("nobody can be asked") && message.contains("--yes"), "{message}");
    assert!(folder.fail("runs rm linear.toml --yes").contains("is no run"));
    folder.write("runs/one/notes.txt", "mine");
    assert!(folder.succeed("runs rm runs/one runs/two --yes").contains("notes.txt"));
    assert_eq!(folder.read("runs/one/notes.txt"), b"mine");
    assert!(!folder.path().join("runs/two").exists() && !folder.path().join("runs/one/config.toml").exists());
    assert_eq!(folder.succeed("runs").lines().count(), 2);
}

#[test]
fn trials_write_no_run() {
    let folder = Folder::new("trials");
    folder.write("linear.toml", LINEAR);
    let text = folder.succeed("train --model linear.toml --data digits:200 --fast-dev-run");
    assert!(text.contains("one step of training went through") && text.contains("accuracy"), "{text}");
    let text = folder.succeed("train --model linear.toml --data digits:200 --batch 20 --epochs 3 --dry-run");
    for part in ["[optimizer]", "dense(10)", "memory of a step", "for 30 steps of"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text =
        folder.succeed("lr-find --model linear.toml --data digits:200 --batch 20 --out rate.svg --json");
    assert!((1e-6..1.0).contains(&number(text.trim(), "suggestion")), "{text}");
    assert!(String::from_utf8(folder.read("rate.svg")).unwrap().contains("suggested"));
    assert!(folder.fail("lr-find --model linear.toml --data digits:200 --out rate").contains(".svg"));
    assert!(!folder.path().join("runs").exists(), "a run was written");
    // A few samples are learned by heart, and nothing is said of it.
    let quiet = "train --model linear.toml --data digits:200 --batch 20 --overfit-batches 1 --epochs 60 --lr 0.01 --out heart --quiet";
    assert_eq!(folder.succeed(quiet), "");
    let line = folder.succeed("runs heart --json");
    let run: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((run["last"]["val_accuracy"].as_f64(), run["steps"].as_u64()), (Some(1.0), Some(60)));
    let text = folder.succeed(
        "train --model linear.toml --data digits:200 --batch 20 --epochs 2 --validate-every 4 --out often",
    );
    let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("step ")).collect();
    assert_eq!(steps.len(), 4, "{text}");
    assert!(steps[0].starts_with("step 4  validation loss") && steps[3].starts_with("step 16 "), "{text}");
    // One of ten samples.
    let text = folder
        .succeed("train --model linear.toml --data digits:200 --batch 5 --limit-train 0.1 --epochs 1 --json");
    assert_eq!(number(text.lines().last().unwrap(), "steps"), 4.0);
    assert!(folder.fail("train --data digits:200 --limit-train 2").contains("limit_train is 2"));
}

/// The same training is tried as would be made: its weights, changes of images and callbacks.
#[test]
fn trials_are_of_the_same_training() {
    let folder = Folder::new("same");
    folder.write("linear.toml", LINEAR);
    let of = "--model linear.toml --data digits:200 --batch 20 --lr 0.01";
    folder.succeed(&format!("train {of} --epochs 10 --out first"));
    let from = "--from first/model.safetensors";
    let first_loss = |line: &str| {
        let text = folder.succeed(&format!("lr-find {of} --steps 30 --json {line}"));
        let found: serde_json::Value = serde_json::from_str(text.trim().lines().last().unwrap()).unwrap();
        found["points"][0][1].as_f64().unwrap()
    };
    assert!(first_loss(from) < first_loss("") / 2.0, "the weights were not loaded");
    assert_ne!(first_loss("--augment erase"), first_loss(""), "the images were not changed");
    for trial in ["train --dry-run", "train --fast-dev-run", "lr-find"] {
        let text = folder.succeed(&format!("{trial} {of} {from}"));
        assert!(text.contains("weights: 2 loaded"), "{trial}: {text}");
        assert!(
            folder.fail(&format!("{trial} {of} --from nowhere.safetensors")).contains("nowhere"),
            "{trial}"
        );
        assert_eq!(folder.succeed(&format!("train --fast-dev-run {of} {from} --quiet")), "");
    }
    let message = folder.fail(&format!("train --fast-dev-run {of} --keep-best val_acuracy"));
    assert!(message.contains("no figure `val_acuracy`; did you mean `val_accuracy`"), "{message}");
    // What is refused does not stand in the way of what is meant.
    folder.fail(&format!("train {of} --epochs 1 --out kept --keep-best val_acuracy"));
    folder.succeed(&format!("train {of} --epochs 1 --out kept --keep-best val_accuracy"));
    // Fewer samples than a batch are a step all the same.
    folder.succeed("train --model linear.toml --data digits:60 --batch 100 --epochs 1 --out few");
    let page = folder.succeed("plot few --what kernels");
    assert!(page.contains("<svg"), "{page}");
    // Other data are measured whole, those kept for testing included.
    folder.succeed("report few --data digits:40");
}

/// What TensorBoard shows lies in the run, and what the dashboard leaves there is no user's.
#[test]
fn events_and_wishes_belong_to_the_run() {
    let folder = Folder::new("events");
    folder.write("linear.toml", LINEAR);
    let events =
        |run: &str| std::fs::read_dir(folder.path().join(run).join("tensorboard")).map_or(0, Iterator::count);
    folder.succeed("train --model linear.toml --data digits:60 --epochs 1 --out one --tensorboard");
    folder.succeed(
        "train --model linear.toml --data digits:60 --epochs 1 --out two --set callbacks=['tensorboard']",
    );
    folder.succeed("train --model linear.toml --data digits:60 --epochs 1 --out three");
    assert_eq!([events("one"), events("two"), events("three")], [1, 1, 0]);
    assert!(!folder.path().join("tensorboard").exists(), "events of all runs in one folder");
    // It is remembered, and what only looks on may come later.
    folder.succeed("train --resume one --epochs 2 --set schedule.length=2");
    folder.succeed(
        "train --resume one --epochs 3 --set schedule.length=3 --tensorboard --set callbacks.0.every=5",
    );
    folder.succeed("train --resume three --epochs 2 --set schedule.length=2 --tensorboard");
    assert_eq!([events("one"), events("three")], [3, 1]);
    folder.write("one/.dropforge-stop", "");
    let said = folder.succeed("runs rm one --yes");
    assert!(said.contains("one is removed") && !folder.path().join("one").exists(), "{said}");
}

/// What makes pictures of pictures is shown by them, whatever targets the data have.
#[test]
fn a_report_shows_pictures_beside_what_becomes_of_them() {
    let folder = Folder::new("pictures");
    let model = "--model autoencoder --set model.width=2 --set model.latent=4";
    folder.succeed(&format!("train {model} --data digits:60 --batch 20 --epochs 1 --out run"));
    folder.succeed("report run");
    let page = String::from_utf8(folder.read("run/report.html")).unwrap();
    let (inputs, outputs) = (page.matches("alt=\"input\"").count(), page.matches("alt=\"output\"").count());
    assert!(inputs == outputs && inputs > 5, "{inputs} inputs, {outputs} outputs");
    assert!(
        page.contains("what the network makes of them, the worst first") && !page.contains("alt=\"target\"")
    );
    let differences = page.split("mean squared difference ").skip(1);
    let differences: Vec<f64> =
        differences.map(|text| text.split('<').next().unwrap().parse().unwrap()).collect();
    assert!(differences.is_sorted_by(|a, b| a >= b) && differences[0] > 0.0, "{differences:?}");
    // Pixels are numbers, too.
    assert!(folder.succeed("plot run --what scatter").starts_with("<svg "));
    assert!(folder.fail("plot run --what confusion").contains("it shows predictions of classes"));
}

/// A loss of yes and no is drawn as such, whatever it is called.
#[test]
fn a_run_of_yes_and_no_has_a_roc_curve() {
    let folder = Folder::new("focal");
    let rows: String = (0..60).map(|i| format!("{},{}\n", i % 7, u8::from(i % 7 > 3))).collect();
    folder.write("rows.csv", format!("x,yes\n{rows}"));
    for loss in ["focal", "bce_with_logits"] {
        folder.succeed(&format!(
            "train --data table:rows.csv --model mlp --loss {loss} --epochs 1 --out {loss}"
        ));
        assert!(folder.succeed(&format!("plot {loss} --what roc")).starts_with("<svg "));
    }
    folder.succeed("train --data table:rows.csv --model mlp --loss huber --epochs 1 --out numbers");
    assert!(folder.fail("plot numbers --what roc").contains("roc"));
}

/// Targets of a table are as the loss needs them, one output tells two classes apart, and figures have the units of the
/// target.
#[test]
fn targets_of_a_table_suit_the_loss() {
    let folder = Folder::new("targets");
    let rows: String = (0..60).map(|i| format!("{},{}\n", i % 7, u8::from(i % 7 > 3))).collect();
    folder.write("rows.csv", format!("x,yes\n{rows}"));
    folder.write("one.toml", "[[layers]]\ntype = 'dense'\nunits = 1\n");
    let number = |json: &str, key: &str| -> f64 {
        let event: serde_json::Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
        event[key].as_f64().unwrap_or_else(|| panic!("{key}: {json}"))
    };
    let train = "--epochs 60 --batch 10 --lr 0.1 --set schedule.type=constant --metrics accuracy,f1,auc";
    for (run, data, model) in [
        ("numbers", "table:rows.csv", "one.toml"),
        ("classes", "table:rows.csv?classes=yes", "one.toml"),
        ("built", "table:rows.csv?classes=yes", "mlp"),
    ] {
        folder.succeed(&format!(
            "train --model {model} --data {data} --loss bce_with_logits {train} --out {run}"
        ));
        let measured = folder.succeed(&format!("eval {run} --json"));
        assert!(number(&measured, "test_loss") >= 0.0 && number(&measured, "test_auc") > 0.99, "{measured}");
        let predicted = folder.succeed(&format!("predict {run} --data {data}"));
        let row = predicted.lines().nth(1).unwrap();
        let last: f64 = row.rsplit(',').next().unwrap().parse().unwrap();
        assert!((0.0..=1.0).contains(&last), "{predicted}");
        assert!(run == "numbers" || predicted.starts_with("sample,class,probability,0,1"), "{predicted}");
    }
    let wrong = folder.fail("train --model one.toml --data table:rows.csv --loss hinge --epochs 1");
    assert!(wrong.contains("is 0, and the loss needs targets of 1 (yes) and -1 (no)"), "{wrong}");
    let rows: String = (0..60).map(|i| format!("{},{}\n", i % 7, 200 + 10 * (i % 7))).collect();
    folder.write("prices.csv", format!("x,price\n{rows}"));
    // Far from what was learned, in the units of the price, which lie 10 apart.
    folder.succeed(
        "train --model one.toml --data table:prices.csv --epochs 1 --lr 0.000001 --metrics mae,mape,rmse --out prices",
    );
    let measured = folder.succeed("eval prices --json");
    assert!(number(&measured, "test_mae") > 5.0 && number(&measured, "test_mape") < 1.0, "{measured}");
    let measured = folder.succeed("eval prices --json --metrics mae");
    assert!(number(&measured, "test_mae") > 5.0, "{measured}");
    folder
        .succeed("train --model one.toml --data table:prices.csv --loss poisson_nll --epochs 1 --out counts");
    let model = folder.fail("train --data table:rows.csv --epochs 1");
    assert!(
        model.contains("lenet does not take samples like these of table:") && model.contains("--model mlp"),
        "{model}"
    );
}

#[test]
fn a_figure_is_watched_layers_are_recorded_and_steps_traced() {
    let folder = Folder::new("watched");
    folder.write(
        "two.toml",
        "layers = [\"flatten\", { type = \"dense\", units = 8, name = \"trunk\" }, \"relu\", { type = \"dense\", units = 10 }]",
    );
    let text = folder.succeed(
        "train --model two.toml --data digits:200 --batch 50 --metrics accuracy,f1 --monitor val_f1 --patience 1 --epochs 6 \
         --freeze trunk.* --unfreeze-after 2 --validate-epochs 2 --lr 1e-9 --record-layers --trace steps.json --out run --json",
    );
    // Two epochs of four are measured, and the second is no better: nothing is learned at such a rate.
    let event = |name: &str| -> Vec<serde_json::Value> {
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &serde_json::Value| event["event"] == name).collect()
    };
    let epochs = event("epoch");
    let measured: Vec<bool> = epochs.iter().map(|epoch| epoch["val_loss"].is_number()).collect();
    assert_eq!(measured, [false, true, false, true], "{text}");
    assert!(epochs.iter().all(|epoch| epoch["data_seconds"].is_number()));
    assert!(event("stopped")[0]["why"].as_str().unwrap().contains("val_f1 was best in epoch 2"), "{text}");
    assert!(folder.path().join("run/best.safetensors").exists());
    let records = String::from_utf8(folder.read("run/layers.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let trunk = records.iter().filter(|record| record["name"] == "trunk.weight");
    let trained: Vec<bool> = trunk.map(|record| record["gradients"].is_object()).collect();
    assert_eq!(trained, [false, false, true, true], "the trunk was frozen for two epochs");
    assert!(records.iter().all(|record| record["update_norm"].as_f64().unwrap() < 1e-3));
    let trace: serde_json::Value = serde_json::from_slice(&folder.read("steps.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |name: &str| events.iter().any(|event| event["name"] == name);
    assert!(named("waiting for data") && named("step") && named("memory of intermediate values"), "{trace}");
    let kernels = events.iter().filter(|event| event["args"]["layers"].is_array());
    assert!(kernels.filter_map(|kernel| kernel["dur"].as_f64()).sum::<f64>() > 0.0);
    // A run holds more files now, and they go with it.
    let figure = folder.succeed("plot run --what gradients");
    assert!(figure.starts_with("<svg ") && figure.contains("trunk.weight"), "{figure}");
    folder.succeed("runs rm run --yes");
    assert!(!folder.path().join("run").exists());
}

/// 40,000 cells of a matrix are looked up by name, not one after another in 40,000 others.
#[test]
fn a_matrix_of_many_classes() {
    let folder = Folder::new("classes");
    let lines: String = (0..400).map(|row| format!("{},{},c{}\n", row % 7, row % 11, row % 200)).collect();
    folder.write("k.csv", format!("a,b,y\n{lines}"));
    let started = std::time::Instant::now();
    folder.succeed(
        "train --model mlp --data table:k.csv?target=y --metrics accuracy,confusion_matrix --epochs 1 --device cpu --out runs/k",
    );
    assert!(folder.succeed("runs runs").contains("val_accuracy"));
    assert_eq!(folder.read("runs/k/metrics.csv").iter().filter(|&&byte| byte == b'\n').count(), 2);
    assert!(folder.succeed("plot runs/k --what accuracy").starts_with("<svg "));
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}

#[test]
fn a_damaged_file_of_a_run_is_named_or_left_out() {
    let folder = Folder::new("damaged");
    folder.write("linear.toml", LINEAR);
    folder.succeed(&format!("{TRAIN} --epochs 1 --out runs/one"));
    for file in ["steps.jsonl", "layers.jsonl"] {
        folder.write(&format!("runs/one/{file}"), b"\xff\xfe\n");
        let output = folder.run("report runs/one");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains("note: ") && said.contains(file), "{said}");
        let page = String::from_utf8(folder.read("runs/one/report.html")).unwrap();
        assert!(page.contains(file) && page.contains("is not shown"));
        std::fs::remove_file(folder.path().join("runs/one").join(file)).unwrap();
    }
    let config = String::from_utf8(folder.read("runs/one/config.toml")).unwrap();
    folder.write("runs/one/config.toml", format!("broken = [1\n{config}"));
    for command in ["summary", "eval", "report"] {
        let said = folder.fail(&format!("{command} runs/one"));
        assert!(said.contains("runs/one/config.toml: line "), "{command}: {said}");
    }
    let said = folder.run("runs runs").stderr;
    assert!(String::from_utf8_lossy(&said).contains("config.toml: line "));
}

#[test]
fn an_overhead_is_a_table_alone() {
    let folder = Folder::new("overhead");
    let text = folder.succeed("bench mlp --overhead --seconds 0.01 --device cpu --json");
    assert!(text.lines().all(|line| line.starts_with('{')), "{text}");
}

#[test]
fn a_file_of_settings_to_begin_with() {
    let folder = Folder::new("init");
    folder.succeed("init --model mlp");
    let text = String::from_utf8(folder.read("dropforge.toml")).unwrap();
    assert!(text.contains("[optimizer]") && text.contains("# max_steps ="), "{text}");
    assert!(folder.fail("init").contains("is there already"));
    folder.succeed("train --config dropforge.toml --data digits:60 --fast-dev-run");
}
