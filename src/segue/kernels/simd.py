"""Operations that Numba lacks, written in LLVM IR. No other module emits LLVM IR.

The scan of int8 codes is written once, in terms of the operations below. Some of them have one
implementation per instruction set, a form: AVX-512 VNNI, AVX2, and plain for all other processors. Kernels
take the form's mark as their first argument, so each is compiled and cached per form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, register_model

LLVM: TypeAlias = Any  # llvmlite and Numba have no types
Intrinsic: TypeAlias = Callable[..., LLVM]

LANES = 16  # items scored at once
BYTE, SHORT, INT = ir.IntType(8), ir.IntType(16), ir.IntType(32)
SHORTS, INTS = ir.VectorType(SHORT, 2 * LANES), ir.VectorType(INT, LANES)


class Form(NamedTuple):
    """How an instruction set multiplies int8 codes.

    Attributes:
        name: "plain", "avx2" or "avx512".
        top: the largest code of a query; top + 1 is added to its codes, so that only items' codes are signed.
        int16_accumulate: whether an item's sum is two int16, one over the even and one over the odd pairs of
            dimensions, instead of one int32. The caller must prevent their overflow.
        needs: required processor features.
    """

    name: str
    top: int
    int16_accumulate: bool
    needs: tuple[str, ...]


FORMS = {
    "avx512": Form("avx512", 127, False, ("avx512f", "avx512bw", "avx512vnni")),
    # 127 * 127 * 2 < 2**15: the sum of a pair does not saturate
    "avx2": Form("avx2", 63, True, ("avx2",)),
    "plain": Form("plain", 127, False, ()),
}
# The dtype of an empty array selects the form of a kernel: the cheapest argument for dispatch.
MARKS = {name: np.empty(0, [(name, np.int8)]) for name in FORMS}


def usable() -> list[str]:
    """Return the names of the forms that this processor supports, the fastest first."""
    features = llvm.get_host_cpu_features()
    return [name for name, form in FORMS.items() if all(features.get(need) for need in form.needs)]


class Vector(types.Type):
    """The Numba type of sixteen sums, in the layout of a form, or of eight float32."""

    def __init__(self, name: str) -> None:
        super().__init__(name)


SUMS, INT16_SUMS, FLOATS = Vector("int32x16"), Vector("int16x32"), Vector("float32x8")
EIGHT = ir.VectorType(ir.FloatType(), 8)


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: LLVM, kind: LLVM) -> None:
        super().__init__(manager, kind, {INT16_SUMS: SHORTS, SUMS: INTS, FLOATS: EIGHT}[kind])


def _form(mark: LLVM) -> str:
    return str(next(iter(mark.dtype.fields)))


def _accumulator(mark: LLVM) -> Vector:
    return INT16_SUMS if FORMS[_form(mark)].int16_accumulate else SUMS


def _splat(builder: LLVM, value: LLVM, count: int) -> LLVM:
    kind = ir.VectorType(value.type, count)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, INT(0))
    return builder.shuffle_vector(
        one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(INT, count), [0] * count)
    )


def _part(builder: LLVM, vector: LLVM, first: int, count: int, step: int = 1) -> LLVM:
    places = [first + step * lane for lane in range(count)]
    return builder.shuffle_vector(
        vector, ir.Constant(vector.type, ir.Undefined), ir.Constant(ir.VectorType(INT, count), places)
    )


def _join(builder: LLVM, low: LLVM, high: LLVM) -> LLVM:
    count = 2 * low.type.count
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(INT, count), list(range(count))))


def _call(builder: LLVM, name: str, result: LLVM, args: list[LLVM]) -> LLVM:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _pointer(context: LLVM, builder: LLVM, kind: LLVM, array: LLVM, offset: LLVM, target: LLVM) -> LLVM:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), target.as_pointer())


@intrinsic
def _start(typing: LLVM, form: LLVM, codes: LLVM, offset: LLVM) -> LLVM:
    """Load the initial sums, which correct for the offset of query codes, from 16 × 2 int16."""
    result, shift = _accumulator(form), (FORMS[_form(form)].top + 1).bit_length() - 1

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        pairs = builder.load(_pointer(context, builder, signature.args[1], args[1], args[2], SHORTS))
        pairs.align = 1
        if result == SUMS:
            return _PAIRS[_form(form)](builder, pairs, ir.Constant(SHORTS, [1 << shift] * 2 * LANES))
        return builder.shl(pairs, ir.Constant(SHORTS, [shift] * 2 * LANES))

    return result(form, codes, types.intp), code


@intrinsic
def _multiply(
    typing: LLVM, form: LLVM, sums: LLVM, codes: LLVM, offset: LLVM, words: LLVM, place: LLVM
) -> LLVM:
    """Add to each item's sum the products of its 4 signed codes with the 4 unsigned codes of a query word."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        bytes64 = ir.VectorType(BYTE, 4 * LANES)
        items = builder.load(_pointer(context, builder, signature.args[2], args[2], args[3], bytes64))
        items.align = 1
        query = builder.load(_pointer(context, builder, signature.args[4], args[4], args[5], INT))
        return _MULTIPLY[_form(form)](builder, args[1], items, _splat(builder, query, LANES))

    return sums(form, sums, codes, types.intp, words, types.intp), code


def _multiply_avx512(builder: LLVM, sums: LLVM, items: LLVM, query: LLVM) -> LLVM:
    args = [sums, query, builder.bitcast(items, INTS)]
    return _call(builder, "llvm.x86.avx512.vpdpbusd.512", INTS, args)


def _multiply_avx2(builder: LLVM, sums: LLVM, items: LLVM, query: LLVM) -> LLVM:
    unsigned = builder.bitcast(query, items.type)
    half = ir.VectorType(SHORT, LANES)
    parts = []
    for first in (0, LANES):
        args = [_part(builder, codes, 2 * first, 2 * LANES) for codes in (unsigned, items)]
        products = _call(builder, "llvm.x86.avx2.pmadd.ub.sw", half, args)
        parts.append(_opaque(builder, builder.add(_part(builder, sums, first, LANES), products)))
    return _join(builder, *parts)


def _opaque(builder: LLVM, value: LLVM) -> LLVM:
    """Pass the value through empty assembly, so that LLVM does not reorder its sums and spill registers."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=x,0", [value], False)


def _multiply_plain(builder: LLVM, sums: LLVM, items: LLVM, query: LLVM) -> LLVM:
    wide = ir.VectorType(INT, 4 * LANES)
    products = builder.mul(builder.sext(items, wide), builder.zext(builder.bitcast(query, items.type), wide))
    pairs = builder.add(*(_part(builder, products, odd, 2 * LANES, 2) for odd in (0, 1)))
    quads = builder.add(*(_part(builder, pairs, odd, LANES, 2) for odd in (0, 1)))
    return builder.add(sums, quads)


_MULTIPLY = {"avx512": _multiply_avx512, "avx2": _multiply_avx2, "plain": _multiply_plain}


@intrinsic
def _total(typing: LLVM, form: LLVM, sums: LLVM) -> LLVM:
    """Return the sums as int32."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        if sums != INT16_SUMS:
            return args[1]
        half = ir.VectorType(SHORT, LANES)
        ones = ir.Constant(half, [1] * LANES)
        eights = [
            _call(
                builder,
                "llvm.x86.avx2.pmadd.wd",
                ir.VectorType(INT, LANES // 2),
                [_part(builder, args[1], first, LANES), ones],
            )
            for first in (0, LANES)
        ]
        return _join(builder, *eights)

    return SUMS(form, sums), code


@intrinsic
def _plus(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return a + b, elementwise."""
    return SUMS(a, b), lambda _, builder, __, args: builder.add(*args)


@intrinsic
def _less(typing: LLVM, sums: LLVM, offsets: LLVM, place: LLVM, scale: LLVM) -> LLVM:
    """Return sums - offsets * scale for 16 float32 offsets; products are clipped to ±2**30 and truncated."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        kind = ir.VectorType(ir.FloatType(), LANES)
        offset = builder.load(_pointer(context, builder, signature.args[1], args[1], args[2], kind))
        offset.align = 4
        product = builder.fmul(offset, _splat(builder, args[3], LANES))
        for order, edge in (("<", 2.0**30), (">", -(2.0**30))):
            edges = ir.Constant(kind, [edge] * LANES)
            product = builder.select(builder.fcmp_ordered(order, product, edges), product, edges)
        return builder.sub(args[0], builder.fptosi(product, INTS))

    return SUMS(sums, offsets, types.intp, types.float32), code


@intrinsic
def _larger(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return the elementwise maximum."""

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        return builder.select(builder.icmp_signed(">", *args), *args)

    return SUMS(a, b), code


@intrinsic
def _above(typing: LLVM, sums: LLVM, bound: LLVM) -> LLVM:
    """Return a bit mask of the items with sums above the bound."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        higher = builder.icmp_signed(">", args[0], _splat(builder, args[1], LANES))
        return builder.zext(builder.bitcast(higher, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(sums, types.int32), code


@intrinsic
def _load_sums(typing: LLVM, array: LLVM, offset: LLVM) -> LLVM:
    """Load sixteen int32 from an array."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        value = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], INTS))
        value.align = 4
        return value

    return SUMS(array, types.intp), code


@intrinsic
def _store_sums(typing: LLVM, array: LLVM, offset: LLVM, sums: LLVM) -> LLVM:
    """Store sixteen int32 in an array."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        stored = builder.store(args[2], _pointer(context, builder, signature.args[0], args[0], args[1], INTS))
        stored.align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, sums), code


@intrinsic
def _no_sums(typing: LLVM) -> LLVM:
    """Return sixteen int32 zeros."""
    return SUMS(), lambda _, builder, __, args: ir.Constant(INTS, [0] * LANES)


@intrinsic
def _sum(typing: LLVM, sums: LLVM) -> LLVM:
    """Return the sum of sixteen int32."""

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        return _call(builder, "llvm.vector.reduce.add.v16i32", INT, [args[0]])

    return types.int32(sums), code


@intrinsic
def _no_floats(typing: LLVM) -> LLVM:
    """Return eight float32 zeros."""
    return FLOATS(), lambda _, builder, __, args: ir.Constant(EIGHT, [0.0] * 8)


@intrinsic
def _load_floats(typing: LLVM, array: LLVM, offset: LLVM) -> LLVM:
    """Load eight float32 from an array."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        value = builder.load(_pointer(context, builder, signature.args[0], args[0], args[1], EIGHT))
        value.align = 4
        return value

    return FLOATS(array, types.intp), code


@intrinsic
def _minus(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return a - b for eight float32."""
    return FLOATS(a, b), lambda _, builder, __, args: builder.fsub(*args)


@intrinsic
def _plus_size(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return a + |b| for eight float32."""

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        return builder.fadd(args[0], _call(builder, "llvm.fabs.v8f32", EIGHT, [args[1]]))

    return FLOATS(a, b), code


@intrinsic
def _plus_product(typing: LLVM, a: LLVM, b: LLVM, c: LLVM) -> LLVM:
    """Return a + b c for eight float32, rounded twice."""
    return FLOATS(a, b, c), lambda _, builder, __, args: builder.fadd(args[0], builder.fmul(args[1], args[2]))


@intrinsic
def _fused(typing: LLVM, a: LLVM, b: LLVM, c: LLVM) -> LLVM:
    """Return a + b c of float32, rounded once if the processor has FMA."""
    once = llvm.get_host_cpu_features().get("fma")

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        if once:
            return _call(builder, "llvm.fma.f32", ir.FloatType(), [args[1], args[2], args[0]])
        return builder.fadd(args[0], builder.fmul(args[1], args[2]))

    return types.float32(types.float32, types.float32, types.float32), code


@intrinsic
def _sum_floats(typing: LLVM, floats: LLVM) -> LLVM:
    """Return the sum of eight float32 as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7))."""

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        lanes = [builder.extract_element(args[0], INT(lane)) for lane in range(8)]
        fours = [builder.fadd(lanes[lane + 4], lanes[lane]) for lane in range(4)]
        return builder.fadd(builder.fadd(fours[0], fours[2]), builder.fadd(fours[1], fours[3]))

    return types.float32(floats), code


@intrinsic
def _first_bit(typing: LLVM, bits: LLVM) -> LLVM:
    """Return the index of the lowest set bit."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.int64(types.int64), code


@intrinsic
def _ones(typing: LLVM, bits: LLVM) -> LLVM:
    """Return the number of set bits."""
    return types.int64(types.uint64), lambda _, builder, __, args: builder.ctpop(args[0])


@intrinsic
def _plus_pairs(
    typing: LLVM, form: LLVM, sums: LLVM, codes: LLVM, offset: LLVM, shorts: LLVM, place: LLVM
) -> LLVM:
    """Multiply 32 int8 codes with 32 int16; add the products of adjacent pairs to sixteen sums."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        loaded = []
        for number, kind in ((2, BYTE), (4, SHORT)):
            wide = ir.VectorType(kind, 2 * LANES)
            array, place = args[number], args[number + 1]
            address = _pointer(context, builder, signature.args[number], array, place, wide)
            loaded.append(builder.load(address))
            loaded[-1].align = kind.width // 8
        items = builder.sext(loaded[0], SHORTS)
        return builder.add(args[1], _PAIRS[_form(form)](builder, items, loaded[1]))

    return SUMS(form, sums, codes, types.intp, shorts, types.intp), code


def _pairs_avx512(builder: LLVM, a: LLVM, b: LLVM) -> LLVM:
    return _call(builder, "llvm.x86.avx512.pmaddw.d.512", INTS, [a, b])


def _pairs_avx2(builder: LLVM, a: LLVM, b: LLVM) -> LLVM:
    eight = ir.VectorType(INT, LANES // 2)
    parts = [
        _call(
            builder, "llvm.x86.avx2.pmadd.wd", eight, [_part(builder, side, first, LANES) for side in (a, b)]
        )
        for first in (0, LANES)
    ]
    return _join(builder, *parts)


def _pairs_plain(builder: LLVM, a: LLVM, b: LLVM) -> LLVM:
    wide = ir.VectorType(INT, 2 * LANES)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    return builder.add(*(_part(builder, products, odd, LANES, 2) for odd in (0, 1)))


_PAIRS = {"avx512": _pairs_avx512, "avx2": _pairs_avx2, "plain": _pairs_plain}


@intrinsic
def _rank(typing: LLVM, score: LLVM) -> LLVM:
    """Map a float32 score to an int64 of 32 bits with the same order. NaN is not supported."""

    def code(_: LLVM, builder: LLVM, __: LLVM, args: LLVM) -> LLVM:
        bits = builder.bitcast(args[0], INT)
        flipped = builder.xor(bits, builder.lshr(builder.ashr(bits, INT(31)), INT(1)))
        return builder.sext(flipped, ir.IntType(64))

    return types.int64(types.float32), code


@intrinsic
def _make_room(typing: LLVM, array: LLVM, place: LLVM, count: LLVM) -> LLVM:
    """Shift `count` values of an array, from `place` on, up by one place."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        source = builder.gep(data, [args[1]])
        target = builder.gep(source, [ir.IntType(64)(1)])
        size = context.get_abi_sizeof(data.type.pointee)
        cgutils.raw_memmove(builder, target, source, args[2], size, align=size)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), code


@intrinsic
def _prefetch(typing: LLVM, array: LLVM, offset: LLVM) -> LLVM:
    """Prefetch the cache line of `array.flat[offset]`; any offset is safe."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        address = _pointer(context, builder, signature.args[0], args[0], args[1], BYTE)
        kind = ir.FunctionType(ir.VoidType(), [address.type, INT, INT, INT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [address, INT(0), INT(3), INT(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic
def _maximum(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return max(a, b) as Python does. Compiles faster than Numba's max, a new function per pair of types."""
    return _pick(typing, a, b, ">")


@intrinsic
def _minimum(typing: LLVM, a: LLVM, b: LLVM) -> LLVM:
    """Return min(a, b) as Python does."""
    return _pick(typing, a, b, "<")


def _pick(typing: LLVM, a: LLVM, b: LLVM, compare: str) -> LLVM:
    kind = typing.unify_types(types.unliteral(a), types.unliteral(b))

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        first, second = (
            context.cast(builder, *pair, kind) for pair in zip(args, signature.args, strict=True)
        )
        if isinstance(kind, types.Float):
            better = builder.fcmp_ordered(compare, second, first)
        elif kind.signed:
            better = builder.icmp_signed(compare, second, first)
        else:
            better = builder.icmp_unsigned(compare, second, first)
        return builder.select(better, second, first)

    return kind(a, b), code


@intrinsic
def _constant(typing: LLVM, array: LLVM) -> LLVM:
    """Return the same array, typed read-only, so that functions compile once for both types."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        return impl_ret_borrowed(context, builder, signature.return_type, args[0])

    return array.copy(readonly=True)(array), code


@intrinsic
def _store_byte(typing: LLVM, array: LLVM, offset: LLVM, value: LLVM) -> LLVM:
    """Store the low 8 bits of a number at a byte offset of an array."""

    def code(context: LLVM, builder: LLVM, signature: LLVM, args: LLVM) -> LLVM:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        address = builder.gep(builder.bitcast(data, BYTE.as_pointer()), [args[1]])
        builder.store(builder.trunc(args[2], BYTE), address)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), code


# Numba supplies an intrinsic's first parameter, which a type checker cannot know.
start: Intrinsic = _start
multiply: Intrinsic = _multiply
total: Intrinsic = _total
plus: Intrinsic = _plus
less: Intrinsic = _less
larger: Intrinsic = _larger
above: Intrinsic = _above
load_sums: Intrinsic = _load_sums
store_sums: Intrinsic = _store_sums
first_bit: Intrinsic = _first_bit
no_sums: Intrinsic = _no_sums
sum_of: Intrinsic = _sum
no_floats: Intrinsic = _no_floats
load_floats: Intrinsic = _load_floats
minus: Intrinsic = _minus
plus_size: Intrinsic = _plus_size
plus_product: Intrinsic = _plus_product
fused: Intrinsic = _fused
sum_floats: Intrinsic = _sum_floats
ones: Intrinsic = _ones
plus_pairs: Intrinsic = _plus_pairs
rank: Intrinsic = _rank
make_room: Intrinsic = _make_room
prefetch: Intrinsic = _prefetch
maximum: Intrinsic = _maximum
minimum: Intrinsic = _minimum
constant: Intrinsic = _constant
store_byte: Intrinsic = _store_byte
