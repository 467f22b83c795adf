// c += a b for a panel of columns as wide as a tile: blocks of rows whose sums stay in registers.

namespace {

constexpr int product_rows = 6;  // times the vectors of a tile: as many sums as there are registers for

template <class T, int rows>
inline void product_block(const PanelProduct<T>& product, int64_t i) {
    constexpr int width = Vector<T>::width;
    Vec<T> sums[rows][n_vectors];
    T* c = product.c + i * product.c_row;
    const T* a = product.a + i * product.a_row;
    const T* b = product.b;
    CGFAST_UNROLL
    for (int r = 0; r < rows; ++r) {
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) sums[r][v] = load(c + r * product.c_row + v * width);
    }
    for (int64_t k = 0; k < product.depth; ++k, a += product.a_column, b += product.b_row) {
        Vec<T> row[n_vectors];
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) row[v] = load(b + v * width);
        CGFAST_UNROLL
        for (int r = 0; r < rows; ++r) {
            const T factor = a[r * product.a_row];
            CGFAST_UNROLL
            for (int v = 0; v < n_vectors; ++v) sums[r][v] += factor * row[v];
        }
    }
    CGFAST_UNROLL
    for (int r = 0; r < rows; ++r) {
        CGFAST_UNROLL
        for (int v = 0; v < n_vectors; ++v) store(c + r * product.c_row + v * width, sums[r][v]);
    }
}

template <class T>
void add_product(const PanelProduct<T>& product) {
    int64_t i = 0;
    for (; i + product_rows <= product.n_rows; i += product_rows) product_block<T, product_rows>(product, i);
    for (; i + 2 <= product.n_rows; i += 2) product_block<T, 2>(product, i);
    if (i < product.n_rows) product_block<T, 1>(product, i);
}

}  // namespace
