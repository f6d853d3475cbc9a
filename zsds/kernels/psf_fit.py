"""Fits of many stars with a PSF that varies: cubic B-splines as in `zsds.kernels.psf_solve`.

The spline's knots are polynomials of the place: `coefficients` [n_terms, K, K] with monomials up to `order`.
"""

import numpy as np
from numba import njit

LEAST_LIGHT = 1e-3  # of a star's light on the pixels it is fitted to; less says nothing about the star


@njit(cache=True, nogil=True, inline="always")
def _weights(t):
    """Cubic B-spline weights of the taps m-1 .. m+2 at m + t."""
    one = 1.0 - t
    second = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    third = (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t) / 6.0
    return (
        np.float32(one * one * one / 6.0),
        np.float32(second),
        np.float32(third),
        np.float32(t * t * t / 6.0),
    )


@njit(cache=True, nogil=True, inline="always")
def _slopes(t, s):
    """The weights' derivatives by t, times s."""
    one = 1.0 - t
    second, third = -2.0 * t + 1.5 * t * t, 0.5 + t - 1.5 * t * t
    return (
        np.float32(-0.5 * s * one * one),
        np.float32(s * second),
        np.float32(s * third),
        np.float32(0.5 * s * t * t),
    )


@njit(cache=True, nogil=True, inline="always")
def _bends(t, s):
    """Their second derivatives by t, times s."""
    return (
        np.float32(s - s * t),
        np.float32(s * (3.0 * t - 2.0)),
        np.float32(s * (1.0 - 3.0 * t)),
        np.float32(s * t),
    )


@njit(cache=True, nogil=True, inline="always")
def _scratch(oversampling, half):
    """Room for `_window` up to a radius of half: knots of one place, and three lines of them below."""
    length = oversampling * 2 * half + 4
    return np.empty((length + 3, length), np.float32)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _window(coefficients, geometry, oversampling, order, x, y, radius, shapes, level, scratch):
    """PSF of a star at (x, y) on the pixels within `radius` of its nearest one; how much depends on `level`.

    shapes[0] value; level >= 1: shapes[1], shapes[2] derivatives by the star's x and y; level >= 2: shapes[3]
    the Laplacian. geometry is (x0, y0, x_scale, y_scale). Loops run over slices of single rows, which
    compilers turn into vectors.
    """
    middle = (coefficients.shape[1] - 1) // 2
    u = min(1.0, max(-1.0, (x - geometry[0]) / geometry[2]))
    v = min(1.0, max(-1.0, (y - geometry[1]) / geometry[3]))
    s = oversampling
    dx, dy = x - np.floor(x + 0.5), y - np.floor(y + 0.5)
    fx, fy = int(np.floor(-s * dx)), int(np.floor(-s * dy))
    tx, ty = -s * dx - fx, -s * dy - fy
    startx, starty = middle + fx - s * radius - 1, middle + fy - s * radius - 1
    length = s * 2 * radius + 4
    for a in range(length):
        line, knots = scratch[a], coefficients[0, starty + a, startx : startx + length]
        for b in range(length):
            line[b] = knots[b]
    term = 0
    for n in range(1, order + 1):
        for k in range(n + 1):
            term += 1
            value = np.float32(u ** (n - k) * v**k)
            for a in range(length):
                line, knots = scratch[a], coefficients[term, starty + a, startx : startx + length]
                for b in range(length):
                    line[b] += value * knots[b]
    x0, x1, x2, x3 = _weights(tx)
    y0, y1, y2, y3 = _weights(ty)
    sx0, sx1, sx2, sx3 = _slopes(tx, -s)
    sy0, sy1, sy2, sy3 = _slopes(ty, -s)
    bx0, bx1, bx2, bx3 = _bends(tx, s * s)
    by0, by1, by2, by3 = _bends(ty, s * s)
    size, last = 2 * radius + 1, scratch.shape[0]
    line, slope, bend = scratch[last - 3], scratch[last - 2], scratch[last - 1]
    for i in range(size):
        p = s * i
        k0, k1, k2, k3 = scratch[p], scratch[p + 1], scratch[p + 2], scratch[p + 3]
        values = shapes[0, i]
        for b in range(length):
            line[b] = y0 * k0[b] + y1 * k1[b] + y2 * k2[b] + y3 * k3[b]
        for j in range(size):
            q = s * j
            values[j] = x0 * line[q] + x1 * line[q + 1] + x2 * line[q + 2] + x3 * line[q + 3]
        if level == 0:
            continue
        by_x, by_y = shapes[1, i], shapes[2, i]
        for b in range(length):
            slope[b] = sy0 * k0[b] + sy1 * k1[b] + sy2 * k2[b] + sy3 * k3[b]
        for j in range(size):
            q = s * j
            by_x[j] = sx0 * line[q] + sx1 * line[q + 1] + sx2 * line[q + 2] + sx3 * line[q + 3]
            by_y[j] = x0 * slope[q] + x1 * slope[q + 1] + x2 * slope[q + 2] + x3 * slope[q + 3]
        if level == 1:
            continue
        bends = shapes[3, i]
        for b in range(length):
            bend[b] = by0 * k0[b] + by1 * k1[b] + by2 * k2[b] + by3 * k3[b]
        for j in range(size):
            q = s * j
            bends[j] = bx0 * line[q] + bx1 * line[q + 1] + bx2 * line[q + 2] + bx3 * line[q + 3]
            bends[j] += x0 * bend[q] + x1 * bend[q + 1] + x2 * bend[q + 2] + x3 * bend[q + 3]


@njit(cache=True, nogil=True, inline="always")
def _solve3(m, r, out):
    """Solve a symmetric 3 x 3 system; False when it is singular."""
    c00 = m[1, 1] * m[2, 2] - m[1, 2] * m[1, 2]
    c01 = m[0, 2] * m[1, 2] - m[0, 1] * m[2, 2]
    c02 = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
    det = m[0, 0] * c00 + m[0, 1] * c01 + m[0, 2] * c02
    if not det > 1e-12 * m[0, 0] * m[1, 1] * m[2, 2] or not m[0, 0] > 0:
        return False
    c11 = m[0, 0] * m[2, 2] - m[0, 2] * m[0, 2]
    c12 = m[0, 1] * m[0, 2] - m[0, 0] * m[1, 2]
    c22 = m[0, 0] * m[1, 1] - m[0, 1] * m[0, 1]
    out[0] = (c00 * r[0] + c01 * r[1] + c02 * r[2]) / det
    out[1] = (c01 * r[0] + c11 * r[1] + c12 * r[2]) / det
    out[2] = (c02 * r[0] + c12 * r[1] + c22 * r[2]) / det
    return True


@njit(cache=True, nogil=True)
def _add(residual, shape, radius, row, col, flux):
    """Add flux * shape, centred on (row, col), to residual; the overlap only."""
    ny, nx = residual.shape
    first, last = max(0, radius - col), min(2 * radius + 1, nx + radius - col)
    if last <= first:
        return
    start, value = col - radius + first, np.float32(flux)
    for i in range(max(0, radius - row), min(2 * radius + 1, ny + radius - row)):
        pixels, light = residual[row - radius + i, start : start + last - first], shape[i, first:last]
        for j in range(last - first):
            pixels[j] += value * light[j]


@njit(cache=True, nogil=True)
def subtract_stars(residual, coefficients, geometry, oversampling, order, half, x, y, flux, reach):
    """Subtract all stars from residual in place, each out to its own reach in pixels."""
    size = 2 * half + 1
    shapes = np.empty((1, size, size), np.float32)
    scratch = _scratch(oversampling, half)
    for star in range(x.size):
        if flux[star] == 0.0:
            continue
        radius = min(half, reach[star])
        row, col = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
        _window(coefficients, geometry, oversampling, order, x[star], y[star], radius, shapes, 0, scratch)
        _add(residual, shapes[0], radius, row, col, -flux[star])


@njit(cache=True, nogil=True)
def draw_stamps(coefficients, geometry, oversampling, order, half, x, y, stamps):
    """Fill stamps [n, m, k, k] with the PSF of stars at (x, y), each about the pixel nearest to its star.

    m is 1, or 3 with the derivatives by the star's x and y.
    """
    size = 2 * half + 1
    count = stamps.shape[1]
    shapes = np.empty((count, size, size), np.float32)
    scratch = _scratch(oversampling, half)
    level = 1 if count == 3 else 0
    for star in range(x.size):
        _window(coefficients, geometry, oversampling, order, x[star], y[star], half, shapes, level, scratch)
        stamps[star] = shapes


@njit(cache=True, nogil=True)
def match_stars(data, sky_variance, coefficients, geometry, oversampling, order, half, x, y, radius, flux):
    """Flux of each star by a matched filter in the sky's noise, all other stars ignored."""
    ny, nx = data.shape
    size = 2 * half + 1
    shapes = np.empty((1, size, size), np.float32)
    scratch = _scratch(oversampling, half)
    for star in range(x.size):
        rad = min(half, radius[star])
        row, col = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
        _window(coefficients, geometry, oversampling, order, x[star], y[star], rad, shapes, 0, scratch)
        light = norm = total = 0.0
        for i in range(max(0, rad - row), min(2 * rad + 1, ny + rad - row)):
            for j in range(max(0, rad - col), min(2 * rad + 1, nx + rad - col)):
                v = sky_variance[row - rad + i, col - rad + j]
                if v > 0.0:
                    light += shapes[0, i, j]
                    norm += shapes[0, i, j] ** 2 / v
                    total += shapes[0, i, j] * data[row - rad + i, col - rad + j] / v
        flux[star] = total / norm if norm > 0.0 and light > LEAST_LIGHT else 0.0


@njit(cache=True, nogil=True)
def sweep_stars(
    data, residual, sky_variance, gain_slope, coefficients, geometry, oversampling, order, half,
    start, x, y, flux, radius, reach, hold, step, max_shift, max_offset,
):  # fmt: skip
    """One pass over all stars: a Newton step of each on what the others leave, residual kept up to date.

    Pixels with sky_variance <= 0 are ignored. The variance of a pixel is sky_variance + gain_slope * model,
    so it never follows the noise. `step` [n] receives the size of each star's change in its own errors; stars
    whose entry is negative are skipped. `start` [n, 2] are the positions stars may not leave by more than
    max_offset. `hold` keeps the positions of all.
    """
    ny, nx = data.shape
    size = 2 * half + 1
    shapes = np.empty((3, size, size), np.float32)
    scratch = _scratch(oversampling, half)
    m, r, out = np.empty((3, 3)), np.empty(3), np.empty(3)
    for star in range(x.size):
        if step[star] < 0.0:
            continue
        rad = min(half, radius[star])
        row, col = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
        far = max(rad, min(half, reach[star]))
        edge = far - rad
        _window(coefficients, geometry, oversampling, order, x[star], y[star], far, shapes, 1, scratch)
        m[:] = 0.0
        r[:] = 0.0
        light = 0.0
        f = flux[star]
        limit = (rad + 0.5) ** 2
        for i in range(max(0, rad - row), min(2 * rad + 1, ny + rad - row)):
            yy = row - rad + i
            for j in range(max(0, rad - col), min(2 * rad + 1, nx + rad - col)):
                xx = col - rad + j
                v = sky_variance[yy, xx]
                if not v > 0.0 or (yy - y[star]) ** 2 + (xx - x[star]) ** 2 > limit:
                    continue
                p = shapes[0, edge + i, edge + j]
                light += p
                model = data[yy, xx] - residual[yy, xx]
                own = f * p
                w = 1.0 / (v + gain_slope * max(model, own, 0.0))
                value = w * residual[yy, xx]
                px, py = f * shapes[1, edge + i, edge + j], f * shapes[2, edge + i, edge + j]
                m[0, 0] += w * p * p
                m[0, 1] += w * p * px
                m[0, 2] += w * p * py
                m[1, 1] += w * px * px
                m[1, 2] += w * px * py
                m[2, 2] += w * py * py
                r[0] += value * p
                r[1] += value * px
                r[2] += value * py
        if not m[0, 0] > 0.0 or light < LEAST_LIGHT:
            step[star] = 0.0
            continue
        significant = f * f * m[0, 0] > 4.0
        change = r[0] / m[0, 0]
        shift_x = shift_y = 0.0
        if not hold and significant and _solve3(m, r, out):
            change, shift_x, shift_y = out[0], out[1], out[2]
            largest = max(abs(shift_x), abs(shift_y))
            if largest > max_shift:
                shift_x *= max_shift / largest
                shift_y *= max_shift / largest
                change = r[0] / m[0, 0] if abs(change) > 0.5 * abs(f) else change
        new_x = min(max(x[star] + shift_x, start[star, 0] - max_offset), start[star, 0] + max_offset)
        new_y = min(max(y[star] + shift_y, start[star, 1] - max_offset), start[star, 1] + max_offset)
        if f > 0.0 and f + change < 0.1 * f:
            change = -0.9 * f if f * f * m[0, 0] > 9.0 else change
        moved = abs(shift_x) * np.sqrt(m[1, 1]) + abs(shift_y) * np.sqrt(m[2, 2])
        step[star] = max(abs(change) * np.sqrt(m[0, 0]), moved)
        if step[star] < 1e-3:
            continue
        now = f + change
        shift_x, shift_y = new_x - x[star], new_y - y[star]
        x[star], y[star], flux[star] = new_x, new_y, now
        bend = abs(now) * shapes[0, far, far] * (shift_x * shift_x + shift_y * shift_y)
        stays = row == int(np.floor(new_y + 0.5)) and col == int(np.floor(new_x + 0.5))
        inside = 0 <= row < ny and 0 <= col < nx
        if stays and inside and bend * bend < 1e-4 * sky_variance[row, col]:  # to first order it is moved
            for i in range(2 * far + 1):
                for j in range(2 * far + 1):
                    moved = shift_x * shapes[1, i, j] + shift_y * shapes[2, i, j]
                    shapes[0, i, j] = change * shapes[0, i, j] + now * moved
            _add(residual, shapes[0], far, row, col, -1.0)
            continue
        _add(residual, shapes[0], far, row, col, f)
        row, col = int(np.floor(new_y + 0.5)), int(np.floor(new_x + 0.5))
        _window(coefficients, geometry, oversampling, order, new_x, new_y, far, shapes, 0, scratch)
        _add(residual, shapes[0], far, row, col, -now)


@njit(cache=True, nogil=True)
def measure_stars(
    data, residual, sky_variance, gain_slope, coefficients, geometry, oversampling, order, half,
    x, y, flux, radius, hold, errors, chi, sharp, n_pixels, outside,
):  # fmt: skip
    """Errors (flux, x, y) [n, 3], chi, sharpness and pixels used, from the residual left by all stars.

    Sharpness is the residual's component along the PSF's Laplacian, free of the flux and position directions:
    a star of squared width sigma^2 + d is, to first order, P + d/2 Laplacian(P); the result is d, px^2.
    """
    ny, nx = data.shape
    size = 2 * half + 1
    shapes = np.empty((4, size, size), np.float32)
    scratch = _scratch(oversampling, half)
    m, c, a = np.empty((3, 3)), np.empty(3), np.empty(3)
    for star in range(x.size):
        rad = min(half, radius[star])
        row, col = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
        outside[star] = row - rad < 0 or col - rad < 0 or row + rad >= ny or col + rad >= nx
        _window(coefficients, geometry, oversampling, order, x[star], y[star], rad, shapes, 2, scratch)
        m[:] = 0.0
        c[:] = 0.0
        f = flux[star]
        limit = (rad + 0.5) ** 2
        chi2 = cc = rc = light = 0.0
        count = 0
        scale = max(abs(f), 1e-30)
        for i in range(max(0, rad - row), min(2 * rad + 1, ny + rad - row)):
            yy = row - rad + i
            for j in range(max(0, rad - col), min(2 * rad + 1, nx + rad - col)):
                xx = col - rad + j
                v = sky_variance[yy, xx]
                if not v > 0.0 or (yy - y[star]) ** 2 + (xx - x[star]) ** 2 > limit:
                    continue
                p = shapes[0, i, j]
                light += p
                w = 1.0 / (v + gain_slope * max(data[yy, xx] - residual[yy, xx], f * p, 0.0))
                res = residual[yy, xx]
                px, py = scale * shapes[1, i, j], scale * shapes[2, i, j]
                bend = 0.5 * scale * shapes[3, i, j]
                count += 1
                chi2 += w * res * res
                m[0, 0] += w * p * p
                m[0, 1] += w * p * px
                m[0, 2] += w * p * py
                m[1, 1] += w * px * px
                m[1, 2] += w * px * py
                m[2, 2] += w * py * py
                c[0] += w * p * bend
                c[1] += w * px * bend
                c[2] += w * py * bend
                cc += w * bend * bend
                rc += w * bend * res
        if light < LEAST_LIGHT:
            count, m[0, 0] = 0, 0.0
        n_pixels[star] = count
        chi[star] = np.sqrt(chi2 / (count - 3)) if count > 3 else np.nan
        errors[star, :] = np.nan
        sharp[star] = np.nan
        if not m[0, 0] > 0.0:
            continue
        errors[star, 0] = 1.0 / np.sqrt(m[0, 0])
        if hold:
            errors[star, 1:] = 0.0
        m[1, 0], m[2, 0], m[2, 1] = m[0, 1], m[0, 2], m[1, 2]
        if not _solve3(m, c, a):
            continue
        left = cc - (a[0] * c[0] + a[1] * c[1] + a[2] * c[2])
        if left > 1e-9 * cc:
            sharp[star] = rc / left * (1.0 if f > 0 else -1.0)
        if not hold:
            for k in range(3):
                c[:] = 0.0
                c[k] = 1.0
                _solve3(m, c, a)
                errors[star, k] = np.sqrt(max(a[k], 0.0))
