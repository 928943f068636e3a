"""Times Python's libraries at softmax and its Jacobian, as subprocess.mjs asks for it.

The first line it writes names the libraries, with a version or the reason why one is absent. Inputs are of shape
(outer, k), (k, inner) or (outer, k, inner); k is always the axis.
"""
import json
import sys
import time

import numpy as np

# All logits are these, again and again.
NORMAL_NUMBERS = 3 * np.random.default_rng(1).standard_normal(2**20)


class Case:
    def __init__(self, operation, dtype, outer, k, inner, slots, threads):
        self.operation = operation
        self.dtype = np.dtype(dtype)
        outer, k, inner = int(outer), int(k), int(inner)
        self.threads = int(threads)
        self.k, self.inner = k, inner
        if inner == 1:
            self.shape, self.axis = (outer, k), 1
        elif outer == 1:
            self.shape, self.axis = (k, inner), 0
        else:
            self.shape, self.axis = (outer, k, inner), 1
        self.last_axis = inner == 1
        self.result_shape = self.shape + ((k,) if operation == 'jacobian' else ())
        self.inputs = [self.logits() for _ in range(int(slots))]
        self.outs = [np.ones(self.result_shape, self.dtype) for _ in range(int(slots))]

    def logits(self):
        x = np.empty(self.shape, self.dtype)
        x.ravel()[:] = np.resize(NORMAL_NUMBERS, x.size)
        return x


# Each class below is a library: its candidates are (variant, call(x, out)) on slots as convert() makes them.


class NumPy:
    """Softmax and its Jacobian with einsum as a well-known tutorial writes them, and softmax without new arrays."""

    name = 'NumPy'
    version = np.__version__

    def candidates(self, case):
        if case.operation == 'jacobian':
            return [('fresh', lambda x, out: numpy_jacobian(x))]
        axis = case.axis

        def into(x, out):
            np.subtract(x, x.max(axis=axis, keepdims=True), out=out)
            np.exp(out, out=out)
            return np.divide(out, out.sum(axis=axis, keepdims=True), out=out)

        if case.last_axis:
            return [('out', into), ('fresh', lambda x, out: numpy_softmax(x))]

        def fresh(x, out):
            e = np.exp(x - np.amax(x, axis, keepdims=True))
            return e / e.sum(axis=axis, keepdims=True)

        return [('out', into), ('fresh', fresh)]


def numpy_softmax(x):
    largest = np.amax(x, 1).reshape(x.shape[0], 1)
    e = np.exp(x - largest)
    return e / e.sum(axis=1, keepdims=True)


def numpy_jacobian(x):
    """float64, as np.eye is."""
    p = numpy_softmax(x)
    diagonal = np.einsum('ij,jk->ijk', p, np.eye(p.shape[-1]))
    return diagonal - np.einsum('ij,ik->ijk', p, p)


class SciPy:
    name = 'SciPy'

    def __init__(self):
        import scipy.special

        self.version = scipy.__version__
        self.softmax = scipy.special.softmax

    def candidates(self, case):
        if case.operation == 'jacobian':
            return []
        return [('fresh', lambda x, out: self.softmax(x, axis=case.axis))]


def numba_version():
    import numba

    # Intel's library of short vector mathematics, without which exponentials are computed one by one.
    svml = 'with' if numba.core.config.USING_SVML else 'without'
    return f'{numba.__version__} {svml} SVML'


class Numba:
    """The tutorial's functions compiled by Numba: one thread, new arrays for each step."""

    name = 'Numba, tutorial'

    def __init__(self):
        import numba

        self.version = numba_version()

        @numba.njit(fastmath=True)
        def softmax(x):
            largest = np.zeros((x.shape[0], 1), dtype=x.dtype)
            for i in range(x.shape[0]):
                largest[i, 0] = np.max(x[i, :])
            e = np.exp(x - largest)
            return e / e.sum(axis=1).reshape((-1, 1))

        @numba.njit(fastmath=True)
        def jacobian(x):
            p = softmax(x)
            eye = np.eye(p.shape[-1])
            rows, k = p.shape
            diagonal = np.zeros((rows, k, k), dtype=np.float32)
            products = np.zeros((rows, k, k), dtype=np.float32)
            for i in range(rows):
                for j in range(k):
                    for l in range(k):
                        diagonal[i, j, l] = p[i, j] * eye[j, l]
                        products[i, j, l] = p[i, j] * p[i, l]
            return diagonal - products

        self.calls = {'softmax': softmax, 'jacobian': jacobian}

    def candidates(self, case):
        if not case.last_axis:
            return []
        call = self.calls[case.operation]
        call(np.ones((2, 3), case.dtype))  # compiles
        return [('fresh', lambda x, out: call(x))]


class ParallelNumba:
    """Numba as one writes it for speed: a parallel loop over rows, each read and written in place."""

    name = 'Numba, parallel'

    def __init__(self):
        import numba

        self.version = numba_version()
        self.set_threads = numba.set_num_threads

        @numba.njit(fastmath=True)
        def softmax_row(x, y):
            largest = x[0]
            for j in range(1, x.size):
                largest = max(largest, x[j])
            total = x.dtype.type(0)
            for j in range(x.size):
                y[j] = np.exp(x[j] - largest)
                total += y[j]
            scale = 1 / total
            for j in range(x.size):
                y[j] *= scale

        @numba.njit(fastmath=True, parallel=True)
        def softmax(x, y):
            for i in numba.prange(x.shape[0]):
                softmax_row(x[i], y[i])
            return y

        @numba.njit(fastmath=True, parallel=True)
        def jacobian(x, out):
            p = np.empty_like(x)
            for i in numba.prange(x.shape[0]):
                softmax_row(x[i], p[i])
                for j in range(x.shape[1]):
                    for l in range(x.shape[1]):
                        out[i, j, l] = -p[i, j] * p[i, l]
                    out[i, j, j] += p[i, j]
            return out

        self.calls = {'softmax': softmax, 'jacobian': jacobian}

    def candidates(self, case):
        if not case.last_axis:
            return []
        self.set_threads(case.threads)
        call = self.calls[case.operation]
        small = np.ones((2, 3), case.dtype)
        call(small, np.ones((2, 3, 3) if case.operation == 'jacobian' else (2, 3), case.dtype))  # compiles
        return [('out', call), ('fresh', lambda x, out: call(x, np.empty(case.result_shape, case.dtype)))]


class PyTorch:
    name = 'PyTorch'

    def __init__(self):
        import torch

        self.torch = torch
        self.version = torch.__version__

    def convert(self, array):
        return self.torch.from_numpy(array)

    def candidates(self, case):
        torch = self.torch
        torch.set_num_threads(case.threads)
        if case.operation == 'jacobian':

            def terms(x):
                p = torch.softmax(x, 1)
                return torch.diag_embed(p), torch.bmm(p.unsqueeze(2), p.unsqueeze(1))

            return [
                ('out', lambda x, out: torch.sub(*terms(x), out=out)),
                ('fresh', lambda x, out: torch.sub(*terms(x))),
            ]
        return [
            ('out', lambda x, out: torch.softmax(x, case.axis, out=out)),
            ('fresh', lambda x, out: torch.softmax(x, case.axis)),
        ]


class JAX:
    """Compiled by jax.jit, on the CPU. It takes all processors."""

    name = 'JAX'

    def __init__(self):
        import jax

        self.jax = jax
        self.version = jax.__version__
        jax.config.update('jax_platform_name', 'cpu')
        jax.config.update('jax_enable_x64', True)

    def convert(self, array):
        return self.jax.numpy.asarray(array)

    def candidates(self, case):
        jax = self.jax

        def jacobian(x):
            p = jax.nn.softmax(x, axis=1)
            return p[:, :, None] * (jax.numpy.eye(p.shape[1], dtype=p.dtype) - p[:, None, :])

        softmax = jax.jit(lambda x: jax.nn.softmax(x, axis=case.axis))
        call = softmax if case.operation == 'softmax' else jax.jit(jacobian)
        call(self.convert(case.inputs[0])).block_until_ready()  # compiles
        return [('fresh', lambda x, out: call(x).block_until_ready())]


class CuPy:
    name = 'CuPy'

    def __init__(self):
        raise RuntimeError('computes on GPUs only, where the suite gpu measures it')


def looks_right(case, result):
    """Probabilities add up to 1, the lines of a Jacobian to 0."""
    result = np.asarray(result)
    if result.shape != case.result_shape:
        return False
    first = result[0, 0] if case.operation == 'jacobian' else np.moveaxis(result, case.axis, -1)
    expected = 0 if case.operation == 'jacobian' else 1
    return bool(np.all(np.abs(np.atleast_2d(first)[:8].sum(axis=-1) - expected) < 1e-3))


def wait_until_quiet():
    """Threads that spin after a call, in case another follows, are not to slow down the next candidate."""
    for _ in range(25):
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0007:
            return


class Session:
    def __init__(self):
        self.libraries = []
        self.calls = {}
        self.case = None
        self.right = set()  # the candidates whose results have been looked at
        self.position = 0  # all candidates go through the slots together, so that none finds its own in the cache

    def load(self, libraries):
        found = []
        for library in libraries:
            try:
                self.libraries.append(library())
                found.append({'name': library.name, 'version': self.libraries[-1].version})
            except Exception as error:
                found.append({'name': library.name, 'absent': str(error)})
        return {'peers': found}

    def prepare(self, *words):
        self.calls = {}
        self.right = set()
        self.case = None  # frees its arrays before there are others
        self.case = case = Case(*words)
        candidates = []
        for library in self.libraries:
            convert = getattr(library, 'convert', lambda array: array)
            slots = [(convert(x), convert(out)) for x, out in zip(case.inputs, case.outs)]
            for variant, call in library.candidates(case):
                name = f'{library.name.replace(" ", "-")}/{variant}'
                self.calls[name] = (call, slots)
                candidates.append({'id': name, 'peer': library.name, 'variant': variant})
        return {'candidates': candidates}

    def time(self, name, calls, awake):
        call, slots = self.calls[name]
        if name not in self.right:
            # A result that is not written is not to pass for another candidate's.
            for out in self.case.outs:
                out.reshape(-1)[: self.case.k * self.case.inner] = float('nan')
        first, self.position = self.position, self.position + calls
        start = time.perf_counter_ns()
        for i in range(first, first + calls):
            result = call(*slots[i % len(slots)])
        nanoseconds = time.perf_counter_ns() - start
        if name not in self.right:
            if not looks_right(self.case, result):
                raise RuntimeError('a wrong result')
            self.right.add(name)
        if not awake:
            wait_until_quiet()
        return {'nanoseconds': nanoseconds}


def main():
    session = Session()
    answer = session.load([NumPy, SciPy, Numba, ParallelNumba, PyTorch, JAX, CuPy])
    while True:
        print(json.dumps(answer), flush=True)
        line = sys.stdin.readline()
        if not line:
            break
        command, *words = line.split()
        try:
            answer = session.prepare(*words) if command == 'prepare' else session.time(words[0], int(words[1]), len(words) > 2)
        except Exception as error:
            answer = {'error': f'{type(error).__name__}: {error}'}


main()
