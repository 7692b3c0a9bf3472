//! Loop kernels as they are printed for this device beside plainer ones, in one run.

use super::{Outcome, loaded, time};
use dropforge_ir::gradient::append_gradients;
use dropforge_ir::text::parse;
use dropforge_ir::{Op, Program, ReduceKind};
use dropforge_wgpu::{Choice, Printing, WgpuDevice};
use std::sync::Arc;

/// How often the variants take turns; the shortest time counts.
const ROUNDS: usize = 3;

/// Runs that are profiled.
const PROFILED: usize = 20;

type Variant = (&'static str, fn(Printing) -> Printing);

const VARIANTS: [Variant; 4] = [
    ("plain", Printing::plain),
    ("quads", |printing| Printing { subgroup: None, ..printing }),
    ("subgroups", |printing| Printing { quads_from: usize::MAX, ..printing }),
    ("both", |printing| printing),
];

/// Prints, for each program and variant, the time of a run by the clock and that of its kernels by timestamps, then the
/// kernels of the first and last variant.
pub fn compare(choice: Choice) -> Outcome<()> {
    let devices: Vec<(&str, Arc<WgpuDevice>)> = VARIANTS
        .into_iter()
        .map(|(name, change)| Ok((name, Arc::new(WgpuDevice::printing(choice, change)?))))
        .collect::<Outcome<_>>()?;
    for program in programs()? {
        println!("{}", program.name);
        let mut executables = Vec::new();
        for (_, device) in &devices {
            executables.push(loaded(device.as_ref(), &program)?);
        }
        let mut best = vec![f64::INFINITY; devices.len()];
        for _ in 0..ROUNDS {
            for (number, (_, device)) in devices.iter().enumerate() {
                best[number] = best[number].min(time(device, &mut executables[number])?);
            }
        }
        for (number, (name, _)) in devices.iter().enumerate() {
            executables[number].start_profile();
            for _ in 0..PROFILED {
                executables[number].run(&[], &[])?;
            }
            let profile = executables[number].profile();
            let kernels =
                profile.lines().next().and_then(|line| line.split_once(": ")).map_or("", |line| line.1);
            println!("  {name:10} {:8.1} µs a run; {kernels}", best[number] * 1e6);
            if number == 0 || number + 1 == devices.len() {
                profile
                    .lines()
                    .skip(1)
                    .filter(|line| line.contains(" µs "))
                    .for_each(|line| println!("    {line}"));
            }
        }
    }
    Ok(())
}

fn programs() -> Outcome<Vec<Program>> {
    Ok(vec![
        with_gradients(
            "softmax cross-entropy 4096×1000",
            "  %x: f32[4096, 1000] = state \"x\"
  %t: f32[4096] = state \"t\"
  %k: f32[] = constant 900.0
  %kk: f32[4096] = broadcast %k {shape=[4096], axes=[]}
  %u = mul %t, %kk
  %a = abs %u
  %i: i32[4096] = cast %a {to=i32}
  %j: i32[4096, 1000] = iota {shape=[4096, 1000], axis=1}
  %b: i32[4096, 1000] = broadcast %i {shape=[4096, 1000], axes=[0]}
  %h = eq %j, %b
  %f: f32[4096, 1000] = cast %h {to=f32}
  %l = logsumexp %x {axes=[1]}
  %p = mul %x, %f
  %s = reduce_sum %p {axes=[1]}
  %y = sub %l, %s",
            1,
        )?,
        norm("layer norm 2048×128", "2048, 128", "1", [2048, 0], [128, 1])?,
        norm("batch norm 32×64×32×32", "32, 64, 32, 32", "0, 2, 3", [64, 1], [64, 1])?,
        parse(&adam(4 << 20))?,
        parse(
            "program bias_relu_of_8_million {
  %x: f32[8192, 1024] = state \"x\"
  %b: f32[1024] = state \"b\"
  %bb = broadcast %b {shape=[8192, 1024], axes=[1]}
  %s = add %x, %bb
  %y = relu %s
  write \"x\" = %y
}",
        )?,
    ])
}

/// A norm of values of a shape, with scale and offset: the axes that it reduces, and extent and axis of what stays, and
/// of scale and offset.
fn norm(
    name: &str,
    shape: &str,
    reduced: &str,
    [kept, kept_axis]: [usize; 2],
    [scaled, scaled_axis]: [usize; 2],
) -> Outcome<Program> {
    let kept_in_shape = format!("{{shape=[{shape}], axes=[{kept_axis}]}}");
    let scaled_in_shape = format!("{{shape=[{shape}], axes=[{scaled_axis}]}}");
    let body = format!(
        "  %x: f32[{shape}] = state \"x\"
  %g: f32[{scaled}] = state \"g\"
  %o: f32[{scaled}] = state \"o\"
  %w: f32[{shape}] = state \"w\"
  %m, %v = mean_variance %x {{axes=[{reduced}]}}
  %e: f32[] = constant 1e-5
  %ee: f32[{kept}] = broadcast %e {{shape=[{kept}], axes=[]}}
  %ve = add %v, %ee
  %r = rsqrt %ve
  %mb = broadcast %m {kept_in_shape}
  %rb = broadcast %r {kept_in_shape}
  %gb = broadcast %g {scaled_in_shape}
  %ob = broadcast %o {scaled_in_shape}
  %d = sub %x, %mb
  %n = mul %d, %rb
  %ng = mul %n, %gb
  %z = add %ng, %ob
  %y = mul %z, %w"
    );
    with_gradients(name, &body, 3)
}

/// A program whose last value `%y` is summed, with the gradients of its first states as further states.
fn with_gradients(name: &str, body: &str, states: usize) -> Outcome<Program> {
    let mut program = parse(&format!("program p {{\n{body}\n  output \"y\" = %y\n}}"))?;
    program.name = name.into();
    let output = program.outputs.pop().ok_or("an output is missing")?;
    let axes = (0..program.shape(output.value).rank()).collect();
    let loss = program.apply(Op::Reduce { kind: ReduceKind::Sum, axes }, &[output.value])?;
    let wrt: Vec<_> = program.states[..states].iter().map(|port| port.value).collect();
    let gradients = append_gradients(&mut program, loss, &wrt)?;
    let mut written = vec![("loss".to_string(), loss)];
    written.extend(
        gradients.into_iter().enumerate().map(|(number, value)| (format!("gradient{number}"), value)),
    );
    for (name, value) in written {
        let ty = program.ty(value).clone();
        program.state(name, ty);
        let port = program.states.len() - 1;
        program.write(port, value)?;
    }
    Ok(program)
}

fn adam(count: usize) -> String {
    let constant = |name: &str, value: &str| {
        format!(
            "  %{name}0: f32[] = constant {value}\n  %{name} = broadcast %{name}0 {{shape=[{count}], axes=[]}}\n"
        )
    };
    let constants =
        [("b1", "0.9"), ("c1", "0.1"), ("b2", "0.999"), ("c2", "0.001"), ("eps", "1e-8"), ("lr", "0.001")];
    let constants: String = constants.iter().map(|(name, value)| constant(name, value)).collect();
    format!(
        "program adam_of_{count} {{
  %p: f32[{count}] = state \"p\"
  %m: f32[{count}] = state \"m\"
  %v: f32[{count}] = state \"v\"
  %g: f32[{count}] = state \"g\"
{constants}  %m1 = mul %m, %b1
  %m2 = mul %g, %c1
  %mm = add %m1, %m2
  %gg = mul %g, %g
  %v0 = abs %v
  %v1 = mul %v0, %b2
  %v2 = mul %gg, %c2
  %vv = add %v1, %v2
  %s = sqrt %vv
  %d = add %s, %eps
  %q = div %mm, %d
  %u = mul %q, %lr
  %pp = sub %p, %u
  write \"p\" = %pp
  write \"m\" = %mm
  write \"v\" = %vv
}}"
    )
}
