"""The constants behind the numbers of noise.py, and the CUDA kernel that makes them; ``noise_cpu`` is its translation.

Both use the same operations of float64 in the same order, each rounded once, a multiply-add where it is written and nowhere
else, so that a CPU and a GPU give the same bits. The constants define the numbers: changing one changes
every result (and Numba's cache does not notice before ``noise_cpu.py`` is touched as well).
"""

from __future__ import annotations

from theorysim.backend import Backend
from theorysim.model import Array

LANES = 16  # coordinates that stand side by side before the next word of a Philox block begins (see noise.py)

# Coefficients of z**0 ... z**6, from interpolation at Chebyshev nodes in 60-digit arithmetic; relative error below 2.3e-16.
LOG = (
    -4.000000000000001,
    -1.3333333333310584,
    -0.8000000012348323,
    -0.5714283204221534,
    -0.4444686909503581,
    -0.3624386886243043,
    -0.33675319941360976,
)  # -4 artanh(s)/s, z = s**2, |s| < 0.1716
SIN = (
    1.5707963267948966,
    -0.6459640975062443,
    0.07969262624604301,
    -0.004681754132340976,
    0.0001604411507421909,
    -3.59864335298231e-06,
    5.633933781537854e-08,
)  # sin(pi t/2)/t, z = t**2, |t| < 1/2
COS = (
    1.0,
    -1.2337005501361513,
    0.25366950789986475,
    -0.02086348073494657,
    0.000919259950041661,
    -2.520013526428479e-05,
    4.6552961874867623e-07,
)  # cos(pi t/2), z = t**2, |t| < 1/2

_HEADER = f"#define LANES {LANES}\n" + "".join(
    f"#define {name} {', '.join(map(repr, values))}\n" for name, values in (("LOG", LOG), ("SIN", SIN), ("COS", COS))
)
DEVICE = (
    _HEADER
    + r"""
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ double polynomial(double z, double c0, double c1, double c2, double c3, double c4, double c5, double c6)
{
    const double y = z * z;
    const double low = fma(fma(c3, z, c2), y, fma(c1, z, c0));
    return fma(fma(c6, y, fma(c5, z, c4)), y * y, low);
}

__device__ void philox(u32 c[4], u32 k0, u32 k1)
{
    for (int round = 0; round < 10; ++round) {
        const u64 p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
        c[0] = (u32)(p1 >> 32) ^ c[1] ^ k0;
        c[1] = (u32)p1;
        c[2] = (u32)(p0 >> 32) ^ c[3] ^ k1;
        c[3] = (u32)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* sqrt(-2 ln u), u = (2w + 1) / 2^33 = m 2^(e - 33), sqrt(1/2) <= m < sqrt(2), ln m = 2 artanh((m - 1) / (m + 1)) */
__device__ double radius(u32 w)
{
    const u64 bits = __double_as_longlong(2.0 * w + 1.0);
    const u64 e = (bits - 0x3FE6A09E667F3BCDull) >> 52;
    const double f = __longlong_as_double(bits - (e << 52)) - 1.0;
    const double s = f / (2.0 + f);
    return sqrt(fma(s, polynomial(s * s, LOG), ((double)e - 33.0) * -1.3862943611198906));
}

/* cos and sin of (pi/2) (q + t): q = the two top bits of w, t = the other bits spread over (-1/2, 1/2) */
__device__ void direction(u32 w, double* x, double* y)
{
    const double t = (2.0 * (w & 0x3FFFFFFFu) + 1.0 - 1073741824.0) * 4.656612873077393e-10;
    const double c = polynomial(t * t, COS), s = t * polynomial(t * t, SIN);
    const bool odd = (w >> 30) & 1, lower = w >> 31;
    *x = odd ? s : c;
    *y = odd ? c : s;
    if (odd != lower) *x = -*x;
    if (lower) *y = -*y;
}

/* The numbers of the four coordinates of a block. */
__device__ void draw(double v[4], u32 block, u32 step, u32 run, u32 word, u32 key0, u32 key1, bool normal)
{
    u32 w[4] = {block, step, run, word};
    philox(w, key0, key1);
    for (int pair = 0; pair < 4; pair += 2) {
        if (normal) {
            const double r = radius(w[pair]);
            direction(w[pair + 1], &v[pair], &v[pair + 1]);
            v[pair] *= r;
            v[pair + 1] *= r;
        } else {
            v[pair] = (2.0 * w[pair] + 1.0) * 1.1641532182693481e-10;
            v[pair + 1] = (2.0 * w[pair + 1] + 1.0) * 1.1641532182693481e-10;
        }
    }
}
"""
)
"""Functions of CUDA for any kernel that draws numbers."""

SOURCE = (
    DEVICE
    + r"""
extern "C" __global__ void fill(double* values, const u32* runs, long long rows, long long size, long long step,
                                long long word, long long key0, long long key1, long long normal)
{
    const long long blocks = (size + 4 * LANES - 1) / (4 * LANES) * LANES;
    const long long thread = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (thread >= rows * blocks) return;
    const long long row = thread / blocks, block = thread % blocks;
    double v[4];
    draw(v, block, step, runs[row], word, key0, key1, normal);
    const long long first = block / LANES * (4 * LANES) + block % LANES;
    for (int lane = 0; lane < 4; ++lane)
        if (first + lane * LANES < size) values[row * size + first + lane * LANES] = v[lane];
}
"""
)
_THREADS = 256


def fill(backend: Backend, values: Array, runs: Array, where: tuple[int, int, int, int], normal: bool) -> None:
    """Write standard normals (or uniforms) into the device array ``values`` (rows, size); ``runs`` is (rows,) uint32.

    ``where``: step, fourth counter word, low and high half of the seed.
    """
    rows, size = values.shape
    threads = rows * (-(-size // (4 * LANES)) * LANES)
    if threads == 0:  # CUDA refuses an empty grid
        return
    kernel = backend.kernel(SOURCE, "fill")
    kernel((-(-threads // _THREADS),), (_THREADS,), (values, runs, rows, size, *where, int(normal)))
