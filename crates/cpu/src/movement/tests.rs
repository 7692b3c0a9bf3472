use super::*;
use crate::matmul::{contiguous_strides, offset};
use crate::pool::Pool;

fn pools() -> [Pool; 3] {
    [Pool::new(1), Pool::new(2), Pool::new(3)]
}

/// Copies one by one.
fn naive_copy<T: Element>(extents: &[usize], from: (&[T], usize, &[isize]), to: (&mut [T], usize, &[isize])) {
    for i in 0..extents.iter().product() {
        let source = from.1 as isize + offset(extents, from.2, i);
        let place = to.1 as isize + offset(extents, to.2, i);
        to.0[place as usize] = from.0[source as usize];
    }
}

fn check_copy(extents: &[usize], from: &[isize], to: &[isize]) {
    let start = |strides: &[isize]| -> usize {
        let axes = extents.iter().zip(strides).filter(|&(_, &stride)| stride < 0);
        axes.map(|(&extent, &stride)| extent.saturating_sub(1) * stride.unsigned_abs()).sum()
    };
    let length = |strides: &[isize]| -> usize {
        let axes = extents.iter().zip(strides);
        axes.map(|(&extent, &stride)| extent.saturating_sub(1) * stride.unsigned_abs()).sum::<usize>() + 1
    };
    let words: Vec<u32> = (0..length(from) as u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    let bytes: Vec<u8> = words.iter().map(|&word| (word >> 24) as u8).collect();
    let (from_start, to_start) = (start(from), start(to));
    let copy = StridedCopy::new(extents, from, to);
    let mut expected = vec![7u32; length(to)];
    naive_copy(extents, (&words, from_start, from), (&mut expected, to_start, to));
    let mut expected_bytes = vec![7u8; length(to)];
    naive_copy(extents, (&bytes, from_start, from), (&mut expected_bytes, to_start, to));
    for pool in pools() {
        let mut out = vec![7u32; length(to)];
        copy.run_on_slices(&words, from_start, &mut out, to_start, &pool);
        assert!(out == expected, "{extents:?} {from:?} {to:?}");
        let mut out = vec![7u8; length(to)];
        copy.run_on_slices(&bytes, from_start, &mut out, to_start, &pool);
        assert!(out == expected_bytes, "{extents:?} {from:?} {to:?}");
    }
}

#[test]
fn copies_any_layout() {
    check_copy(&[], &[], &[]);
    check_copy(&[5], &[1], &[1]);
    check_copy(&[5], &[-1], &[2]);
    check_copy(&[0, 3], &[3, 1], &[3, 1]);
    check_copy(&[300, 200], &[1, 300], &[200, 1]);
    check_copy(&[33, 17], &[1, 40], &[30, 1]);
    check_copy(&[33, 17], &[-1, 33], &[17, 1]);
    check_copy(&[70, 300], &[0, 1], &[300, 1]);
    check_copy(&[70, 300], &[1, 0], &[300, 1]);
    check_copy(&[100, 301], &[602, 2], &[301, 1]);
    check_copy(&[3, 4, 5, 70], &[1, 3, 12, 60], &[1400, 350, 70, 1]);
    check_copy(&[4, 50, 3, 60], &[9000, 60, 3000, 1], &[9000, 180, 60, 1]);
    check_copy(&[40, 3, 90], &[270, -90, 1], &[270, 90, 1]);
    check_copy(&[7, 9, 100], &[1, 7, 63], &[900, 100, 1]);
    check_copy(&[1, 40000], &[5, 1], &[1, 1]);
}

#[test]
fn permutes() {
    let shape = [3, 20, 4, 17];
    let from: Vec<f32> = (0..3 * 20 * 4 * 17).map(|i| i as f32).collect();
    let strides = contiguous_strides(&shape);
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 2, 1, 3], [1, 3, 0, 2], [0, 1, 3, 2]] {
        let extents = order.map(|axis| shape[axis]);
        let permuted = order.map(|axis| strides[axis]);
        let mut expected = vec![0.0; from.len()];
        naive_copy(&extents, (&from, 0, &permuted), (&mut expected, 0, &contiguous_strides(&extents)));
        for pool in pools() {
            let mut out = vec![0.0; from.len()];
            StridedCopy::permute(&shape, &order).run_on_slices(&from, 0, &mut out, 0, &pool);
            assert!(out == expected, "{order:?}");
        }
    }
}

#[test]
#[should_panic(expected = "overlap")]
fn overlapping_destinations_are_refused() {
    StridedCopy::new(&[3, 4], &[4, 1], &[2, 1]);
}

#[test]
#[should_panic(expected = "source is too short")]
fn a_short_source_is_refused() {
    StridedCopy::permute(&[3, 4], &[1, 0]).run_on_slices(&[0u32; 11], 0, &mut [0; 12], 0, &Pool::new(1));
}

#[test]
fn concatenates() {
    for outer in [0, 1, 3, 500] {
        for lengths in [vec![], vec![4], vec![0, 5, 1], vec![33, 2, 0, 60]] {
            let parts: Vec<Vec<u32>> = (0u32..)
                .zip(&lengths)
                .map(|(part, &length)| (0..(outer * length) as u32).map(|i| i * 10 + part).collect())
                .collect();
            let mut expected = Vec::new();
            for position in 0..outer {
                for (part, &length) in parts.iter().zip(&lengths) {
                    expected.extend_from_slice(&part[position * length..][..length]);
                }
            }
            let arguments: Vec<(&[u32], usize)> =
                parts.iter().zip(&lengths).map(|(part, &length)| (&part[..], length)).collect();
            for pool in pools() {
                let mut out = vec![0; expected.len()];
                concat(outer, &arguments, &mut out, &pool);
                assert_eq!(out, expected);
            }
        }
    }
}

fn check_pad(shape: &[usize], low: &[usize], high: &[usize], interior: &[usize]) {
    let result: Vec<usize> = (0..shape.len())
        .map(|i| low[i] + high[i] + shape[i] + interior[i] * shape[i].saturating_sub(1))
        .collect();
    let strides = contiguous_strides(&result);
    let from: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32 + 1.0).collect();
    let mut expected = vec![-5.0; result.iter().product()];
    let steps: Vec<isize> = strides.iter().zip(interior).map(|(s, &i)| s * (i as isize + 1)).collect();
    let start = strides.iter().zip(low).map(|(&stride, &low)| stride as usize * low).sum();
    if !from.is_empty() {
        naive_copy(shape, (&from, 0, &contiguous_strides(shape)), (&mut expected, start, &steps));
    }
    for pool in pools() {
        let mut out = vec![0.0; expected.len()];
        pad(&Padding::new(shape, low, high, interior), &from, -5.0, &mut out, &pool);
        assert!(out == expected, "{shape:?} {low:?} {high:?} {interior:?}");
    }
}

#[test]
fn pads() {
    check_pad(&[], &[], &[], &[]);
    check_pad(&[4], &[1], &[2], &[3]);
    check_pad(&[0], &[1], &[2], &[3]);
    check_pad(&[1], &[0], &[0], &[3]);
    check_pad(&[3, 0, 2], &[0, 1, 0], &[0, 0, 1], &[0, 0, 1]);
    check_pad(&[2, 5, 30, 31], &[0, 0, 1, 1], &[0, 0, 1, 2], &[0, 0, 0, 0]);
    check_pad(&[2, 5, 30, 31], &[0, 0, 0, 1], &[0, 0, 0, 2], &[0, 0, 1, 2]);
    check_pad(&[200, 201], &[3, 0], &[0, 0], &[0, 0]);
    check_pad(&[200, 201], &[0, 0], &[0, 0], &[0, 0]);
}

/// Indices with repetitions and some outside.
fn some_indices(count: usize, size: usize) -> Vec<i32> {
    (0..count).map(|i| ((i * 7919 + i * i) % (size + 2)) as i32 - 1).collect()
}

#[test]
fn gathers() {
    for (outer, size, inner, count) in
        [(1, 65, 128, 2048), (3, 10, 1, 5000), (2, 0, 3, 4), (4, 5, 6, 0), (7, 3, 33, 9)]
    {
        let shape = IndexedShape::new(&[outer, size, inner], 1);
        let from: Vec<u32> = (1..=(outer * size * inner) as u32).collect();
        let indices = some_indices(count, size);
        let mut expected = Vec::new();
        for position in 0..outer {
            for &index in &indices {
                let inside = (0..size as i32).contains(&index);
                let element = |i: usize| from[(position * size + index as usize) * inner + i];
                expected.extend((0..inner).map(|i| if inside { element(i) } else { 0 }));
            }
        }
        for pool in pools() {
            let mut out = vec![9; expected.len()];
            gather(shape, &from, &indices, &mut out, &pool);
            assert_eq!(out, expected);
        }
    }
}

#[test]
fn scatters_in_order() {
    for (outer, size, inner, count) in [
        (1, 65, 128, 2048),
        (3, 10, 1, 5000),
        (1, 10, 1, 20000),
        (2, 4, 3, 0),
        (4, 0, 6, 3),
        (1, 300, 37, 999),
    ] {
        let shape = IndexedShape { outer, size, inner };
        let indices = some_indices(count, size);
        let updates: Vec<f32> = (0..outer * count * inner).map(|i| ((i * 31) % 1009) as f32 / 7.0).collect();
        let mut expected = vec![0.0f32; outer * size * inner];
        for position in 0..outer {
            for (i, &index) in indices.iter().enumerate() {
                if (0..size as i32).contains(&index) {
                    for j in 0..inner {
                        let update = updates[(position * count + i) * inner + j];
                        expected[(position * size + index as usize) * inner + j] += update;
                    }
                }
            }
        }
        for pool in pools() {
            let mut out = vec![9.0; expected.len()];
            scatter_add(shape, &updates, &indices, &mut out, &pool);
            assert_eq!(out, expected, "the same to the last bit");
        }
    }
}
