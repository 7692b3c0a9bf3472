use super::*;
use std::sync::Mutex;

/// Numbers without a pattern, between −1 and 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// All positions of axes of these extents, row-major.
fn positions(extents: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &extent in extents {
        all = all.iter().flat_map(|p| (0..extent).map(|i| [&p[..], &[i]].concat())).collect();
    }
    all
}

fn at(position: &[usize], strides: &[isize]) -> isize {
    position.iter().zip(strides).map(|(&p, &s)| p as isize * s).sum()
}

fn naive(shape: &MatmulShape, lhs: (&[f32], isize), rhs: (&[f32], isize), out: (&mut [f32], isize)) {
    let outer = positions(&shape.outer);
    for batch in positions(&shape.batch) {
        for row in 0..shape.m {
            for column in 0..shape.n {
                let mut sum = 0.0f64;
                for outer in &outer {
                    for k in 0..shape.k {
                        let element = |s: &MatrixStrides, r: usize, c: usize| {
                            at(&batch, &s.batch) + at(outer, &s.outer) + at(&[r, c], &[s.row, s.column])
                        };
                        let l = lhs.0[(lhs.1 + element(&shape.lhs, row, k)) as usize];
                        let r = rhs.0[(rhs.1 + element(&shape.rhs, k, column)) as usize];
                        sum += f64::from(l) * f64::from(r);
                    }
                }
                let s = &shape.out;
                let place = at(&batch, &s.batch) + at(&[row, column], &[s.row, s.column]);
                out.0[(out.1 + place) as usize] = sum as f32;
            }
        }
    }
}

/// Computes with every instruction set and several thread counts, against loops in f64.
fn check(shape: &MatmulShape) {
    let (l, r) = (shape.reach(&shape.lhs, shape.m, shape.k), shape.reach(&shape.rhs, shape.k, shape.n));
    let no_outer = MatmulShape { outer: Vec::new(), ..shape.clone() };
    let o = no_outer.reach(&shape.out, shape.m, shape.n);
    let (lhs, rhs) = (numbers(l.len(), 1), numbers(r.len(), 2));
    let mut expected = vec![7.0; o.len()];
    naive(shape, (&lhs, -l.start), (&rhs, -r.start), (&mut expected, -o.start));
    let summands = (shape.k * shape.outer.iter().product::<usize>()) as f32;
    for level in Level::available() {
        for threads in [1, 2, 3, 5] {
            let pool = Pool::new(threads);
            let matmul = Matmul::with_level(shape.clone(), threads, level);
            let mut aside = matmul.clone();
            let is_aside = aside.put_output_aside();
            let run = |matmul: &Matmul| {
                let mut out = vec![7.0; o.len()];
                let mut scratch = vec![f32::NAN; matmul.scratch()];
                let finished = Mutex::new(Vec::new());
                // SAFETY: the buffers span what the strides reach.
                unsafe {
                    let lhs = lhs.as_ptr().wrapping_offset(-l.start);
                    let rhs = rhs.as_ptr().wrapping_offset(-r.start);
                    let out = out.as_mut_ptr().wrapping_offset(-o.start);
                    let note = |tile: Tile| {
                        assert!(tile.thread < threads);
                        for row in tile.rows.clone() {
                            for column in tile.columns.clone() {
                                let inside =
                                    row as isize * shape.out.row + column as isize * shape.out.column;
                                let place = offset(&shape.batch, &shape.out.batch, tile.batch) + inside;
                                let value = tile.aside.map(|(first, stride)| {
                                    *first.add((row - tile.rows.start) * stride + column - tile.columns.start)
                                });
                                finished.lock().unwrap().push(([tile.batch, row, column], place, value));
                            }
                        }
                    };
                    matmul.run_with(lhs, rhs, out, scratch.as_mut_ptr(), &pool, &note);
                }
                let mut times = vec![0; shape.batch.iter().product::<usize>() * shape.m * shape.n];
                for ([batch, row, column], place, value) in finished.into_inner().unwrap() {
                    times[(batch * shape.m + row) * shape.n + column] += 1;
                    if let Some(value) = value {
                        let out = &mut out[(place - o.start) as usize];
                        assert_eq!(*out, 7.0, "nothing is written where tiles lie aside: {shape:?}");
                        *out = value;
                    }
                }
                assert!(times.iter().all(|&times| times == 1), "{shape:?} {:?}", matmul.split);
                out
            };
            let out = run(&matmul);
            for (i, (&have, &want)) in out.iter().zip(&expected).enumerate() {
                let close = (have - want).abs() <= 1e-6 * (summands.sqrt() + 1.0) * 2.0;
                assert!(close, "{have} instead of {want} at {i}: {shape:?} {:?} {level:?}", matmul.split);
            }
            assert_eq!(out, run(&matmul), "not deterministic: {shape:?}");
            if is_aside {
                assert_eq!(out, run(&aside), "put aside: {shape:?}");
            }
            if let Some(keeping) = matmul.keeping_right(threads) {
                let mut packed = vec![f32::NAN; keeping.packed_len()];
                let mut out = vec![7.0; o.len()];
                let mut scratch = vec![f32::NAN; keeping.scratch()];
                // SAFETY: the buffers span what the strides reach; the packed side has the length that is asked for.
                unsafe {
                    let lhs = lhs.as_ptr().wrapping_offset(-l.start);
                    let rhs = rhs.as_ptr().wrapping_offset(-r.start);
                    (0..3).for_each(|part| keeping.pack(rhs, packed.as_mut_ptr(), part, 3));
                    let out = out.as_mut_ptr().wrapping_offset(-o.start);
                    let (packed, scratch) = (Some(packed.as_ptr()), scratch.as_mut_ptr());
                    keeping.run_packed([lhs, std::ptr::null()], packed, out, scratch, &pool, &|_| {});
                }
                for (i, (&have, &want)) in out.iter().zip(&expected).enumerate() {
                    let close = (have - want).abs() <= 1e-6 * (summands.sqrt() + 1.0) * 2.0;
                    assert!(close, "{have} instead of {want} at {i}: kept {shape:?} {:?}", keeping.split);
                }
            }
        }
    }
}

/// Many columns gain by a right side that was packed before; few columns lose, since their product is better
/// transposed, or its contracted axis shared among threads.
#[test]
fn right_sides_are_kept_where_that_pays() {
    for level in Level::available() {
        let keeps = |m, n, k, threads| {
            let matmul = Matmul::with_level(MatmulShape::contiguous(m, n, k), threads, level);
            matmul.keeping_right(threads).is_some()
        };
        for threads in [1, 2] {
            for (m, n, k) in [(1, 512, 784), (32, 512, 784), (128, 1000, 2048)] {
                assert!(keeps(m, n, k, threads), "{m}×{k}×{n} on {threads} threads, {level:?}");
            }
            for (m, n, k) in [(128, 2, 512), (128, 2, 65_536), (128, 10, 4096)] {
                assert!(!keeps(m, n, k, threads), "{m}×{k}×{n} on {threads} threads, {level:?}");
            }
        }
    }
}

#[test]
fn awkward_extents() {
    for m in [0, 1, 3, 14, 15, 33] {
        for n in [0, 1, 7, 16, 33, 65] {
            for k in [0, 1, 5, 33] {
                check(&MatmulShape::contiguous(m, n, k));
            }
        }
    }
    check(&MatmulShape::contiguous(10, 84, 128));
    check(&MatmulShape::contiguous(40, 70, 700));
    check(&MatmulShape::contiguous(3, 2, 5000));
    check(&MatmulShape::contiguous(31, 1100, 330));
}

#[test]
fn long_rows_with_long_columns() {
    for (m, n, k, wide) in
        [(32, 70, 20_500, false), (5, 3, 21_000, true), (1, 1, 20_480, false), (7, 13, 30_001, true)]
    {
        let shape = MatmulShape::contiguous(m, n, k);
        // The right side's columns are contiguous; rows of the output may have gaps.
        let rhs = MatrixStrides { row: 1, column: k as isize, ..Default::default() };
        let out = MatrixStrides { row: 2 * n as isize, column: 2, ..Default::default() };
        check(&MatmulShape { rhs, out: if wide { out } else { shape.out.clone() }, ..shape });
    }
}

#[test]
fn every_order_of_the_axes() {
    for (m, n, k) in [(20, 37, 50), (1, 40, 70), (37, 2, 19), (130, 70, 9)] {
        for order in 0..8 {
            let pick = |bit: usize, rows: usize, columns: usize| match order >> bit & 1 {
                0 => MatrixStrides { row: columns as isize, column: 1, ..Default::default() },
                _ => MatrixStrides { row: 1, column: rows as isize, ..Default::default() },
            };
            let (lhs, rhs, out) = (pick(0, m, k), pick(1, k, n), pick(2, m, n));
            check(&MatmulShape { m, n, k, lhs, rhs, out, ..Default::default() });
        }
    }
}

#[test]
fn right_sides_that_are_streamed() {
    // More elements than a cache holds, along either axis.
    for (m, n, k) in [(32, 130, 4100), (30, 2100, 260), (31, 4300, 130)] {
        let natural = MatmulShape::contiguous(m, n, k);
        let rhs = MatrixStrides { row: 1, column: k as isize, ..Default::default() };
        check(&MatmulShape { rhs, ..natural.clone() });
        check(&natural);
    }
}

#[test]
fn odd_strides_and_batches() {
    let strides = |batch: &[isize], row: isize, column: isize| MatrixStrides {
        batch: batch.to_vec(),
        outer: Vec::new(),
        row,
        column,
    };
    // Holes, a reversed axis, one side shared by a batch axis.
    check(&MatmulShape {
        batch: vec![2, 3],
        outer: vec![],
        m: 17,
        n: 21,
        k: 19,
        lhs: strides(&[1500, 400], -20, 1),
        rhs: strides(&[0, 900], 2, 41),
        out: strides(&[3000, 1000], 47, 2),
    });
    let many = MatmulShape {
        batch: vec![16],
        lhs: strides(&[15], 3, 1),
        rhs: strides(&[12], 4, 1),
        out: strides(&[20], 4, 1),
        ..MatmulShape::contiguous(5, 4, 3)
    };
    check(&many);
    check(&MatmulShape { batch: vec![0], ..many });
}

#[test]
fn outer_contracted_axes() {
    // Filter gradient of a 1×1 convolution: out[a, b] = sum over image and pixel of x[image, a, pixel] y[image, b,
    // pixel].
    let (images, a, b, pixels) = (5, 20, 33, 47);
    let side = |channels: usize| (vec![(channels * pixels) as isize], pixels as isize);
    let ((lhs_outer, row), (rhs_outer, column)) = (side(a), side(b));
    let shape = MatmulShape {
        batch: vec![],
        outer: vec![images],
        m: a,
        n: b,
        k: pixels,
        lhs: MatrixStrides { batch: vec![], outer: lhs_outer, row, column: 1 },
        rhs: MatrixStrides { batch: vec![], outer: rhs_outer, row: 1, column },
        out: MatrixStrides { batch: vec![], outer: vec![], row: b as isize, column: 1 },
    };
    check(&shape);
    check(&MatmulShape { outer: vec![0], ..shape });
}

#[test]
fn dot_merges_axes_where_it_can() {
    // Both free axes and both contracted axes are one each.
    let merged = DotAxes::contiguous(&[2, 3, 4, 5], &[4, 5, 6, 7], &[], &[], &[2, 3], &[0, 1]).matmul();
    assert_eq!(merged, MatmulShape::contiguous(6, 42, 20));
    // The weight gradient of heads: contracted over batch and time, which the heads stand between.
    let heads = DotAxes::contiguous(&[2, 3, 9, 4], &[2, 9, 11], &[], &[], &[0, 2], &[0, 1]).matmul();
    assert_eq!((heads.m, heads.n, heads.k), (4, 11, 9));
    assert_eq!((&heads.outer, &heads.batch), (&vec![2], &vec![3]));
    check(&heads);
    // A batch axis in the middle, scalars.
    check(&DotAxes::contiguous(&[4, 3, 5], &[3, 5, 6], &[1], &[0], &[2], &[1]).matmul());
    check(&DotAxes::contiguous(&[8], &[8], &[], &[], &[0], &[0]).matmul());
    check(&DotAxes::contiguous(&[3], &[4], &[], &[], &[], &[]).matmul());
    check(&DotAxes::contiguous(&[], &[], &[], &[], &[], &[]).matmul());
    check(&DotAxes::contiguous(&[0, 3], &[3, 4], &[], &[], &[1], &[0]).matmul());
}

#[test]
fn slices_are_checked() {
    let pool = Pool::new(2);
    let matmul = Matmul::new(MatmulShape::contiguous(2, 3, 4), 2);
    let mut out = [0.0; 6];
    matmul.run_on_slices(&[1.0; 8], &[1.0; 12], &mut out, &pool);
    assert_eq!(out, [4.0; 6]);
}

#[test]
#[should_panic(expected = "lhs too short")]
fn a_short_slice_is_refused() {
    let matmul = Matmul::new(MatmulShape::contiguous(2, 3, 4), 1);
    matmul.run_on_slices(&[1.0; 7], &[1.0; 12], &mut [0.0; 6], &Pool::new(1));
}

#[test]
#[should_panic(expected = "overlap")]
fn an_overlapping_output_is_refused() {
    let mut shape = MatmulShape::contiguous(2, 3, 4);
    shape.out.row = 2;
    Matmul::new(shape, 1).run_on_slices(&[1.0; 8], &[1.0; 12], &mut [0.0; 6], &Pool::new(1));
}
