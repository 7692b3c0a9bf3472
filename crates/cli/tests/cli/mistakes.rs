//! Whatever is wrong, the answer is one line that names it, an exit code that is not 0, and no panic.

use crate::common::{Folder, LINEAR, check_failed, png};

/// An IDX file of unsigned bytes.
fn idx(magic: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, magic, shape.len() as u8];
    shape.iter().for_each(|extent| file.extend_from_slice(&extent.to_be_bytes()));
    file.extend_from_slice(data);
    file
}

/// MNIST with so many images and labels.
fn mnist(folder: &Folder, dir: &str, images: &[u8], labels: &[u8]) {
    folder.write(&format!("{dir}/train-images-idx3-ubyte"), images);
    folder.write(&format!("{dir}/train-labels-idx1-ubyte"), labels);
    folder.write(&format!("{dir}/t10k-images-idx3-ubyte"), idx(8, &[1, 28, 28], &[0; 784]));
    folder.write(&format!("{dir}/t10k-labels-idx1-ubyte"), idx(8, &[1], &[3]));
}

#[test]
fn every_mistake_is_one_line() {
    let folder = Folder::new("mistakes");
    let image = idx(8, &[2, 28, 28], &[9; 2 * 784]);
    mnist(&folder, "truncated", &image[..900], &idx(8, &[2], &[1, 2]));
    mnist(&folder, "magic", &idx(0x7f, &[2, 28, 28], &[9; 2 * 784]), &idx(8, &[2], &[1, 2]));
    mnist(&folder, "counts", &image, &idx(8, &[3], &[1, 2, 3]));
    mnist(&folder, "labels", &image, &idx(8, &[2], &[1, 12]));
    folder.write("linear.toml", LINEAR);
    folder.write("key.toml", "layers = [{ type = 'dense', unit = 3 }]");
    folder.write("kind.json", "{\"layers\": [{\"type\": \"dens\", \"units\": 3}]}");
    folder.write("broken.toml", "layers = [");
    folder.write("broken.json", "{");
    folder.write("seven.toml", "layers = [{ type = 'flatten' }, { type = 'dense', units = 7 }]");
    folder.write(
        "deep.toml",
        "layers = [{ type = 'max_pool', size = 40 }, { type = 'flatten' }, { type = 'dense', units = 10 }]",
    );
    folder.write("text.png", "not an image");
    folder.write("rows.csv", "x,y\n1,2\n2,3\n3,5\n4,6\n5,7\n6,9\n7,8\n8,9\n9,9\n1,3\n");
    folder.write("file", "a file");
    folder.write("not-a-run/notes.txt", "");
    folder.write("bad-run/config.toml", "format = 1\nepoch = 3\n");
    folder.succeed("train --model linear.toml --data digits:20 --epochs 1 --out run");
    for (line, parts) in [
        ("train --data mnist:truncated", &["truncated/train-images-idx3-ubyte"][..]),
        ("train --data mnist:magic", &["magic/train-images-idx3-ubyte"]),
        ("train --data mnist:counts", &["counts/train-labels-idx1-ubyte", "3 labels", "2 images"]),
        ("train --data mnist:labels", &["labels/train-labels-idx1-ubyte", "label 12 of sample 1", "0 to 9"]),
        ("train --data mnist:nowhere", &["nowhere", "--download"]),
        ("train --data mnist", &["data/mnist"]),
        ("train --data cifar10", &["cifar10:PATH"]),
        ("train --data cifar10:nowhere", &["nowhere"]),
        ("train --data folder:nowhere", &["nowhere"]),
        ("train --data minst", &["unknown data set `minst`", "mnist"]),
        ("train --data digits:many", &["digits:many"]),
        (
            "train --data table:rows.csv?target=y --model mlp --augment cutmix",
            &["only images can be augmented"],
        ),
        (
            "lr-find --data table:rows.csv?target=y --model mlp --augment cutmix",
            &["only images can be augmented"],
        ),
        (
            "train --data table:rows.csv?target=y --model mlp --augment random_crop --augment-on device",
            &["only images"],
        ),
        ("train --data digits --download", &["mnist"]),
        ("train --model lennet", &["unknown model `lennet`", "lenet", "mlp"]),
        ("train --model nowhere.toml", &["nowhere.toml", "cannot read"]),
        ("train --model key.toml", &["key.toml", "layer 0 (dense)", "`unit`", "`units`"]),
        ("train --model kind.json", &["kind.json", "layer 0 (dens)", "`dense`"]),
        ("train --model broken.toml", &["broken.toml", "line 1"]),
        ("train --model broken.json", &["broken.json", "JSON"]),
        ("train --model seven.toml --data digits:20", &["7", "10 classes"]),
        ("train --model deep.toml --data digits:20", &["max_pool"]),
        ("train --optimizer adma", &["`adma`", "`adamw`"]),
        ("train --model linear.toml --data digits:20 --lr 0", &["learning rate"]),
        ("train --model linear.toml --data digits:20 --lr nan", &["`lr` is NaN"]),
        ("train --model linear.toml --data digits:20 --batch 0", &["`batch` is 0", "1 or more"]),
        ("train --model linear.toml --data digits:20 --lr -1", &["`lr` is -1", "0 or more"]),
        ("train --model linear.toml --data digits:20 --optimizer sgd --momentum 1.5", &["`momentum` is 1.5"]),
        ("train --model linear.toml --data digits:20 --weight-decay nan", &["`weight_decay` is NaN"]),
        ("train --model linear.toml --data digits:20 --set optimizer.beta=1", &["adam", "`beta`", "`betas`"]),
        ("train --model linear.toml --data digits:20 --set optimiser.lr=1", &["`optimiser`", "`optimizer`"]),
        ("train --model linear.toml --data digits:20 --set lr", &["--set lr", "optimizer.lr=0.01"]),
        ("train --model linear.toml --data digits:20 --momentum 0.9", &["momentum", "adam"]),
        ("train --model linear.toml --data digits:20 --save-every nan", &["`save_every` is NaN"]),
        (
            "train --model linear.toml --data digits:20 --optimizer sgd --lr 1e38 --epochs 9",
            &["loss", "learning rate"],
        ),
        ("train --epochs many", &["many", "--epochs"]),
        ("train --device tpu", &["unknown device `tpu`", "cpu"]),
        #[cfg(not(feature = "gpu"))]
        ("train --device gpu", &["--features gpu", "--device cpu"]),
        ("train --threads 0", &["--threads"]),
        ("train --memory-limit much", &["--memory-limit", "2GiB"]),
        ("train --data digits:20 --memory-limit 2GiB", &["cpu", "memory", "GPU"]),
        ("train --data digits:20 --out run", &["run", "--resume"]),
        ("train --data digits:20 --out file", &["file"]),
        ("train --data digits:20 --out not-a-run", &["not-a-run", "notes.txt", "no run"]),
        ("train --data digits:20 --out file/below", &["file/below"]),
        ("train --resume nowhere", &["nowhere", "no such run"]),
        ("train --resume not-a-run", &["not-a-run", "config.toml"]),
        ("train --resume bad-run", &["bad-run/config.toml", "`epoch`", "`epochs`"]),
        ("train --resume run --out other", &["--resume", "--out"]),
        ("train --resume run --batch 7", &["`batch` was", "--resume"]),
        ("train --resume run --model mlp", &["`model.", "--resume"]),
        ("train --resume run --set optimizer.betas=0.5", &["`optimizer.betas", "--resume"]),
        ("eval nowhere", &["nowhere"]),
        ("eval run --data mnist:counts", &["counts/"]),
        ("eval run --batch 0", &["batch of 0"]),
        ("predict run nowhere.png", &["nowhere.png"]),
        ("predict run text.png", &["text.png"]),
        ("predict run", &["IMAGE"]),
        ("predict nowhere text.png", &["nowhere"]),
        ("summary --model lennet", &["unknown model `lennet`"]),
        ("summary --model lenet --classes 99999999999", &["[99999999999, 84] is too large"]),
        ("summary --input 3x", &["`3x`"]),
        ("summary --model lenet --input 784", &["conv"]),
        ("bench lennet", &["unknown workload `lennet`", "lenet"]),
        ("bench mlp --dtype f99", &["f99", "f32"]),
        ("explain --model lennet", &["--model"]),
        ("explain lennet", &["unknown model `lennet`"]),
        ("list layer", &["`layer`", "`layers`"]),
        ("list models lennet", &["there is no model `lennet`", "did you mean `lenet`", "`mlp`"]),
        ("list settings grups", &["there is no setting `grups`", "`group`", "`run`"]),
        ("trian", &["trian", "train"]),
        ("train --modle lenet", &["--modle", "--model"]),
    ] {
        let message = folder.fail(line);
        let missing: Vec<_> = parts.iter().filter(|part| !message.contains(**part)).collect();
        assert!(missing.is_empty(), "{line}: {message:?} lacks {missing:?}");
    }
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".dropforge")), "{left:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("not-a-run")).unwrap().count(), 1);
}

#[test]
fn a_checkpoint_of_another_shape_is_refused() {
    let folder = Folder::new("shape");
    folder.write("linear.toml", LINEAR);
    folder.succeed("train --model linear.toml --data digits:20 --epochs 1 --out run");
    folder.write(
        "wide.toml",
        "layers = [{ type = 'flatten' }, { type = 'dense', units = 12 }, { type = 'dense', units = 10 }]",
    );
    folder.succeed("train --model wide.toml --data digits:20 --epochs 1 --out wide");
    let weights = folder.checkpoint("wide", "model.safetensors");
    folder.write(&format!("{}/model.safetensors", folder.newest("run")), weights);
    for line in ["eval run", "train --resume run --epochs 2"] {
        let message = folder.fail(line);
        assert!(
            message.contains("1.weight") && message.contains("12") && message.contains("10"),
            "{message}"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_the_last_checkpoint() {
    let folder = Folder::new("full");
    folder.write("linear.toml", LINEAR);
    folder.succeed("train --model linear.toml --data digits:20 --schedule constant --epochs 1 --out run");
    let before = folder.checkpoint("run", "model.safetensors");
    // No file may grow beyond this many blocks of 512 bytes; without the trap the shell's signal would kill.
    let tool = env!("CARGO_BIN_EXE_dropforge");
    let script = format!("trap '' XFSZ; ulimit -f 16; exec {tool} train --resume run --epochs 2");
    let output = std::process::Command::new("sh").arg("-c").arg(script).current_dir(folder.path()).output();
    let message = check_failed("a full disk", &output.unwrap());
    assert!(message.contains("model.safetensors") && message.contains("cannot write"), "{message}");
    assert_eq!(folder.checkpoint("run", "model.safetensors"), before);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("run")).unwrap().collect();
    let name = |entry: &std::io::Result<std::fs::DirEntry>| entry.as_ref().unwrap().file_name();
    assert!(!left.iter().any(|entry| name(entry).to_string_lossy().starts_with('.')), "{left:?}");
    folder.succeed("train --resume run --epochs 2");
    assert_ne!(folder.checkpoint("run", "model.safetensors"), before);
}

/// What there is to do is said in flags and settings, and no line of the library's own source is named.
#[test]
fn advice_is_in_words_of_the_command() {
    let folder = Folder::new("advice");
    folder.write("linear.toml", LINEAR);
    folder.write("unflat.toml", "layers = [{ type = 'dense', units = 10 }]\n");
    folder.write(
        "norm.toml",
        "layers = [{ type = 'flatten' }, { type = 'dense', units = 10 }, { type = 'batch_norm' }]\n",
    );
    folder.succeed("train --model linear.toml --data digits:20 --epochs 1 --out run");
    for name in ["a/1", "a/2", "a/3", "b/1", "b/2", "b/3"] {
        folder.write(&format!("pictures/{name}.png"), png(9, 9, &[99; 81]));
    }
    for (line, expected) in [
        (
            "train --model unflat.toml --data digits:20",
            "is there a `flatten` missing before the last layer?, in loss",
        ),
        (
            "train --model norm.toml --data digits:21 --batch 10",
            "leave it out with --drop-last, or choose another --batch",
        ),
        ("eval run --best", "train with --keep-best, or leave out --best"),
        (
            "train --model linear.toml --data digits:20 --set loss.label_smoothing=0.1",
            "`loss` has settings (`label_smoothing`) and no name; without any it is cross_entropy for classes and tokens, mse \
             for numbers; name it with --loss, such as --loss cross_entropy, or by `type` in a file",
        ),
        (
            "train --model vae --data digits:20 --set loss.weight=0.5",
            "without any it is added, which belongs to the model vae; name it with --loss, such as --loss added",
        ),
        (
            "train --model gpt --data digits:20",
            "the model gpt does not take samples like these of digits:20 (input of f32[1, 28, 28] each): gpt: needs i32[batch, \
             time], got f32[1, 1, 28, 28]; choose another, such as --model mlp",
        ),
        (
            "train --model vgg11 --data folder:pictures --size 8",
            "(input of f32[3, 8, 8] each): max_pool: a kernel reaching over 2 is larger than the input, which is 1 with its \
             padding, in features.15; take larger images (--size for a folder), or choose another --model",
        ),
        (
            "train --model unet --data digits:20",
            "the model unet gives [10, 28, 28] for each sample of digits:20 (input of f32[1, 28, 28] each), which does not go \
             with its targets: cross_entropy: needs scores",
        ),
        ("train --optimizer lookahead --ema 0.9 --swa-start 1 --data digits:20", "cannot be used with"),
        (
            "train --set ema=0.9 --set swa_start=1 --data digits:20",
            "`ema` and `swa_start` are two means of the weights",
        ),
        (
            "train --model linear.toml --data mnist:nowhere",
            "there is no such folder; give the folder that has the files, or fetch them first; --download fetches it",
        ),
        (
            "train --model mlp --data table:gone.csv",
            "gone.csv: cannot open it: there is no such file; check the path",
        ),
        (
            "train --model mlp --data text:gone.txt",
            "gone.txt: cannot open it: there is no such file; check the path",
        ),
    ] {
        let said = folder.fail(line);
        assert!(said.contains(expected) && !said.contains(".rs:"), "{line}: {said}");
    }
}

/// A pipe would wait for ever, a device never ends.
#[test]
#[cfg(unix)]
fn what_is_no_regular_file_is_refused() {
    let folder = Folder::new("pipes");
    for pipe in ["pipe.toml", "pipe.json", "pipe.npz"] {
        let made = std::process::Command::new("mkfifo").arg(folder.path().join(pipe)).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    }
    for line in [
        "train --config pipe.toml",
        "train --config /dev/zero",
        "train --model pipe.toml",
        "train --model pipe.json",
        "sweep pipe.toml",
        "sweep /dev/zero",
        "train --model mlp --data digits:20 --epochs 0 --from pipe.npz",
        "weights show pipe.npz",
    ] {
        let message = folder.fail(line);
        assert!(message.contains("no regular file"), "{line}: {message}");
    }
}

#[test]
fn nobody_has_to_read_the_output() {
    let folder = Folder::new("unread");
    folder.write("linear.toml", LINEAR);
    folder.write(
        "space.toml",
        "args = ['--model', 'linear.toml', '--data', 'digits:20', '--epochs', '1']\n[space]\nbatch = [5, 10, 20]\n",
    );
    for line in [
        "summary",
        "train --model linear.toml --data digits:20 --epochs 3 --out run --json",
        "predict run --data digits:6000",
        "sweep space.toml --out swept",
        "help",
        "devices",
    ] {
        let mut child = folder
            .command(line)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{line}: {output:?}"
        );
    }
    // A sweep comes to its end all the same.
    assert_eq!(folder.succeed("runs swept --filter epochs=1 --json").matches("\"finished\"").count(), 3);
    // Training went on to its end.
    let epochs = std::fs::read_to_string(folder.path().join("run/metrics.csv")).unwrap();
    assert_eq!(epochs.lines().count(), 1 + 3, "{epochs}");
}
