// What C++ adds: vtables, type information, COMDAT groups, guards, exceptions, constructors of statics.
extern int g(int);

struct A {
    virtual ~A();
    virtual int f(int) = 0;
    int v;
};
struct B : A {
    ~B() override;
    int f(int) override;
};
struct C : virtual B {
    C();
    int f(int) override;
};

B::~B() {}
int B::f(int x) { return g(x) + v; }
C::C() { v = g(1); }
int C::f(int x) { return B::f(x) * 2; }

template <class T> T greater(T a, T b) { return a > b ? a : b; }
int use(A *a) { return greater(a->f(2), g(3)); }

inline int &once()
{
    static int x = g(5);
    return x;
}
int count_once() { return once()++; }
B *make() { return new C; }
auto lambda = [](int x) { return g(x); };
int use_lambda(int x) { return lambda(x); }
A *global = make();
int catches(int x)
{
    try {
        return g(x);
    } catch (int e) {
        return e;
    }
}
int cleans(int x)
{
    C c;
    return c.f(g(x));
}
int (A::*member)(int) = &A::f;
const B constant{};
