"""Rendering of point sources, wings, lines and charge for simulated images. Images are changed in place."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def sample_profile(profile, step, parts, start, pitch, image):
    """Fill image [n, n] with a sum of scaled elliptical copies of a radial profile.

    Sample (i, j) lies at start + pitch * (i, j). ``profile[k]`` is the surface brightness at radius
    k * step; beyond its end it is 0. Each row of ``parts`` is (dx, dy, weight, qxx, qxy, qyy) with
    radius**2 = qxx u**2 + 2 qxy u v + qyy v**2 about (dx, dy).
    """
    n = image.shape[0]
    last = profile.size - 1
    for i in range(n):
        for j in range(n):
            total = 0.0
            for p in range(parts.shape[0]):
                u = start + pitch * j - parts[p, 0]
                v = start + pitch * i - parts[p, 1]
                square = parts[p, 3] * u * u + 2 * parts[p, 4] * u * v + parts[p, 5] * v * v
                position = np.sqrt(square) / step
                k = int(position)
                if k < last:
                    t = position - k
                    total += parts[p, 2] * (profile[k] + t * (profile[k + 1] - profile[k]))
            image[i, j] = total


@njit(cache=True, nogil=True)
def pixel_means(fine, cells, finer, out):
    """Means of fine [n, n] over squares of cells x cells that start every ``finer`` cells."""
    n = fine.shape[0]
    m = out.shape[0]
    sums = np.zeros((n + 1, m))
    prefix = np.zeros(n + 1)
    for i in range(n):
        for j in range(n):
            prefix[j + 1] = prefix[j] + fine[i, j]
        for k in range(m):
            sums[i + 1, k] = sums[i, k] + prefix[k * finer + cells] - prefix[k * finer]
    for i in range(m):
        for k in range(m):
            out[i, k] = (sums[i * finer + cells, k] - sums[i * finer, k]) / cells**2


@njit(cache=True, nogil=True)
def lagrange_weights(t, weights):
    """Weights of samples -1, 0, 1, 2 for cubic interpolation at t in [0, 1)."""
    weights[0] = -t * (t - 1) * (t - 2) / 6
    weights[1] = (t + 1) * (t - 1) * (t - 2) / 2
    weights[2] = -(t + 1) * t * (t - 2) / 2
    weights[3] = (t + 1) * t * (t - 1) / 6


@njit(cache=True, nogil=True, fastmath=True)
def interpolate_stamp(tables, terms, fx, fy, radius, stamp):
    """Write the PSF of a star at sub-pixel offset (fx, fy) into stamp[: 2 radius + 1, : 2 radius + 1].

    ``tables`` [n_terms, o, o, n, n] holds the pixel-integrated PSF at whole-pixel steps for each of
    o x o sub-pixel phases; ``terms`` [n_terms] are the values of the polynomial terms there.
    """
    oversampling = tables.shape[1]
    middle = tables.shape[3] // 2
    wx = np.empty(4)
    wy = np.empty(4)
    sx = -fx * oversampling
    sy = -fy * oversampling
    bx = int(np.floor(sx))
    by = int(np.floor(sy))
    lagrange_weights(sx - bx, wx)
    lagrange_weights(sy - by, wy)
    side = 2 * radius + 1
    for i in range(side):
        for j in range(side):
            stamp[i, j] = 0
    for a in range(4):
        qy = by + a - 1
        ky = qy // oversampling
        py = qy - ky * oversampling
        for b in range(4):
            qx = bx + b - 1
            kx = qx // oversampling
            px = qx - kx * oversampling
            for term in range(terms.size):
                weight = np.float32(wy[a] * wx[b] * terms[term])
                if weight == 0:
                    continue
                plane = tables[term, py, px]
                for i in range(side):
                    row = plane[i + middle - radius + ky]
                    shift = middle - radius + kx
                    for j in range(side):
                        stamp[i, j] += weight * row[j + shift]


@njit(cache=True, nogil=True)
def polynomial_terms(x, y, powers, terms):
    """Values of x**p * y**q for each row (p, q) of powers."""
    for k in range(powers.shape[0]):
        terms[k] = x ** powers[k, 0] * y ** powers[k, 1]


@njit(cache=True, nogil=True)
def add_stars(image, tables, powers, frame, stars, radii):
    """Add point sources to image.

    Parameters
    ----------
    image : ndarray [ny, nx]
    tables : ndarray of float32 [n_terms, o, o, n, n]
        See `interpolate_stamp`.
    powers : ndarray of int [n_terms, 2]
    frame : ndarray [4]
        Origin x, y and scale x, y of the polynomial coordinates.
    stars : ndarray [m, 3]
        x, y, flux.
    radii : ndarray of int [m]
        Half-size of each star's stamp.
    """
    ny, nx = image.shape
    n = tables.shape[3]
    stamp = np.empty((n, n), dtype=np.float32)
    terms = np.empty(powers.shape[0])
    for s in range(stars.shape[0]):
        x, y, flux = stars[s]
        radius = radii[s]
        column = int(np.floor(x + 0.5))
        line = int(np.floor(y + 0.5))
        if column + radius < 0 or line + radius < 0 or column - radius >= nx or line - radius >= ny:
            continue
        polynomial_terms((x - frame[0]) / frame[2], (y - frame[1]) / frame[3], powers, terms)
        interpolate_stamp(tables, terms, x - column, y - line, radius, stamp)
        for i in range(max(0, radius - line), min(2 * radius + 1, ny + radius - line)):
            for j in range(max(0, radius - column), min(2 * radius + 1, nx + radius - column)):
                image[line - radius + i, column - radius + j] += flux * stamp[i, j]


@njit(cache=True, nogil=True)
def taper(r, inner, outer):
    """1 inside inner, 0 outside outer, smooth between."""
    if r <= inner:
        return 1.0
    if r >= outer:
        return 0.0
    t = (r - inner) / (outer - inner)
    return 1.0 - t * t * (3 - 2 * t)


@njit(cache=True, nogil=True)
def add_wings(image, stars, reach, wing, inner, outer):
    """Add the part of each star's wings that lies outside its stamp.

    ``wing`` is (amplitude, core radius, power) of amplitude * (1 + (r / core)**2)**(-power / 2); it
    sets in between radii inner and outer and stops smoothly over the last fifth before ``reach``.
    """
    ny, nx = image.shape
    for s in range(stars.shape[0]):
        x, y, flux = stars[s]
        size = reach[s]
        if size <= inner:
            continue
        for i in range(max(0, int(y - size)), min(ny, int(y + size) + 2)):
            for j in range(max(0, int(x - size)), min(nx, int(x + size) + 2)):
                r = np.sqrt((j - x) ** 2 + (i - y) ** 2)
                if r <= inner or r >= size:
                    continue
                value = wing[0] * (1 + (r / wing[1]) ** 2) ** (-wing[2] / 2)
                image[i, j] += flux * value * (1 - taper(r, inner, outer)) * taper(r, 0.8 * size, size)


@njit(cache=True, nogil=True)
def add_rings(image, rings):
    """Add evenly lit rings (the out-of-focus pupil) with soft edges of one pixel.

    Each row of ``rings`` is (x, y, inner radius, outer radius, surface brightness).
    """
    ny, nx = image.shape
    for s in range(rings.shape[0]):
        x, y, inner, outer, level = rings[s]
        for i in range(max(0, int(y - outer - 2)), min(ny, int(y + outer) + 3)):
            for j in range(max(0, int(x - outer - 2)), min(nx, int(x + outer) + 3)):
                r = np.sqrt((j - x) ** 2 + (i - y) ** 2)
                inside = min(max(outer + 0.5 - r, 0.0), 1.0) - min(max(inner + 0.5 - r, 0.0), 1.0)
                image[i, j] += level * inside


@njit(cache=True, nogil=True)
def add_spikes(image, stars, angle, width, scale, reach):
    """Add a cross of diffraction spikes to each star (x, y, flux of its four spikes together).

    Along an arm the light falls as (1 + r / scale)**-2 out to ``reach``; across it is Gaussian.
    """
    ny, nx = image.shape
    c, s = np.cos(angle), np.sin(angle)
    line = scale * (1 - 1 / (1 + reach / scale))
    for k in range(stars.shape[0]):
        x, y, flux = stars[k]
        peak = flux / (4 * line * np.sqrt(2 * np.pi) * width)
        for i in range(max(0, int(y - reach)), min(ny, int(y + reach) + 2)):
            for j in range(max(0, int(x - reach)), min(nx, int(x + reach) + 2)):
                u = c * (j - x) + s * (i - y)
                v = -s * (j - x) + c * (i - y)
                total = 0.0
                if abs(v) < 5 * width and abs(u) < reach:
                    total += np.exp(-0.5 * (v / width) ** 2) / (1 + abs(u) / scale) ** 2
                if abs(u) < 5 * width and abs(v) < reach:
                    total += np.exp(-0.5 * (u / width) ** 2) / (1 + abs(v) / scale) ** 2
                image[i, j] += peak * total


@njit(cache=True, nogil=True)
def add_tracks(image, tracks):
    """Add straight charge tracks with unresolved width (cosmic rays).

    Each row of ``tracks`` is (x, y, dx, dy, charge): the charge is spread evenly from (x, y) to
    (x + dx, y + dy) over the pixels that the line crosses.
    """
    ny, nx = image.shape
    for s in range(tracks.shape[0]):
        x, y, dx, dy, charge = tracks[s]
        n = int(8 * np.sqrt(dx * dx + dy * dy)) + 1
        for k in range(n):
            j = int(np.floor(x + dx * (k + 0.5) / n + 0.5))
            i = int(np.floor(y + dy * (k + 0.5) / n + 0.5))
            if 0 <= i < ny and 0 <= j < nx:
                image[i, j] += charge / n


@njit(cache=True, nogil=True)
def bleed_columns(image, full_well, bled):
    """Spill charge above full_well along columns, half each way, and mark where it went in bled.

    Charge that reaches an edge of the image is lost.
    """
    ny, nx = image.shape
    for j in range(nx):
        highest = image[0, j]
        for i in range(1, ny):
            highest = max(highest, image[i, j])
        if highest <= full_well:
            continue
        for direction in (1, -1):
            spilled = 0.0
            first = 0 if direction == 1 else ny - 1
            i = first
            for _ in range(ny):
                excess = image[i, j] - full_well
                if excess > 0 and direction == 1:
                    spilled += excess / 2
                    image[i, j] -= excess / 2
                    bled[i, j] = 1
                elif excess > 0:
                    spilled += excess
                    image[i, j] = full_well
                    bled[i, j] = 1
                elif spilled > 0:
                    moved = min(spilled, -excess)
                    image[i, j] += moved
                    spilled -= moved
                    bled[i, j] = 1
                i += direction


@njit(cache=True, nogil=True)
def matched_snr(variance, tables, powers, frame, stars, snr, peak):
    """Ideal signal-to-noise ratio flux * sqrt(sum(P**2 / variance)) and largest pixel value of each star.

    Pixels outside the image do not count; arguments as in `add_stars`.
    """
    ny, nx = variance.shape
    n = tables.shape[3]
    radius = min(12, (n - 5) // 2)
    stamp = np.empty((n, n), dtype=np.float32)
    terms = np.empty(powers.shape[0])
    for s in range(stars.shape[0]):
        x, y, flux = stars[s]
        column = int(np.floor(x + 0.5))
        line = int(np.floor(y + 0.5))
        snr[s] = 0
        peak[s] = 0
        if column + radius < 0 or line + radius < 0 or column - radius >= nx or line - radius >= ny:
            continue
        polynomial_terms((x - frame[0]) / frame[2], (y - frame[1]) / frame[3], powers, terms)
        interpolate_stamp(tables, terms, x - column, y - line, radius, stamp)
        total = 0.0
        for i in range(max(0, radius - line), min(2 * radius + 1, ny + radius - line)):
            for j in range(max(0, radius - column), min(2 * radius + 1, nx + radius - column)):
                total += stamp[i, j] ** 2 / variance[line - radius + i, column - radius + j]
                peak[s] = max(peak[s], flux * stamp[i, j])
        snr[s] = flux * np.sqrt(total)


@njit(cache=True, nogil=True)
def sersic_cells(light, x, y, pitch, form, index, bulge, end):
    """Fill light [m, m] with a Sersic profile averaged over square cells, cell (i, j) at pitch * (i, j).

    ``form`` (qxx, qxy, qyy) gives the squared radius in half-light radii, ``bulge`` the factor b_n;
    nothing beyond ``end`` half-light radii. Cells near the centre are sampled more finely.
    """
    m = light.shape[0]
    far = min(8, 1 + int(2 * pitch * np.sqrt(form[0] + form[2])))
    for i in range(m):
        for j in range(m):
            u = pitch * j - x
            v = pitch * i - y
            square = form[0] * u * u + 2 * form[1] * u * v + form[2] * v * v
            if square > (end + 1) ** 2:
                light[i, j] = 0
                continue
            distance = max(abs(u), abs(v)) / pitch
            n = max(far, 16 if distance < 1.5 else (8 if distance < 5 else 1))
            total = 0.0
            for a in range(n):
                for b in range(n):
                    su = u + pitch * ((b + 0.5) / n - 0.5)
                    sv = v + pitch * ((a + 0.5) / n - 0.5)
                    square = form[0] * su * su + 2 * form[1] * su * sv + form[2] * sv * sv
                    if square < end * end:
                        total += np.exp(-bulge * square ** (0.5 / index))
            light[i, j] = total / (n * n)
