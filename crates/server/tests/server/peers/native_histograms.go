// A service with Prometheus' Go client: native histograms of both makes beside the classic kinds, with exemplars.
// What it observes is fixed, so that the test knows every value.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	registry := prometheus.NewRegistry()
	// Schema 3: eight buckets for each power of two.
	native := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "native_seconds", Help: "Native buckets alone.", NativeHistogramBucketFactor: 1.1,
	}, []string{"route"})
	both := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "both_seconds", Help: "Native and classic buckets.", NativeHistogramBucketFactor: 2, Buckets: []float64{1, 10},
	})
	classic := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "classic_seconds", Help: "Classic buckets.", Buckets: []float64{1, 10}})
	placed := prometheus.NewCounter(prometheus.CounterOpts{Name: "orders_placed_total", Help: "Orders placed."})
	waiting := prometheus.NewGauge(prometheus.GaugeOpts{Name: "orders_waiting", Help: "Orders that wait."})
	sizes := prometheus.NewSummary(prometheus.SummaryOpts{Name: "sizes_bytes", Help: "Sizes.", Objectives: map[float64]float64{0.5: 0.01}})
	registry.MustRegister(native, both, classic, placed, waiting, sizes)

	for _, value := range []float64{0, 0.5, 1, 1, 2, 4, -3} {
		native.WithLabelValues("/orders").Observe(value)
	}
	trace := prometheus.Labels{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
	for _, value := range []float64{0.5, 5, 50} {
		both.(prometheus.ExemplarObserver).ObserveWithExemplar(value, trace)
		classic.(prometheus.ExemplarObserver).ObserveWithExemplar(value, trace)
		sizes.Observe(value)
	}
	placed.(prometheus.ExemplarAdder).AddWithExemplar(7, trace)
	waiting.Set(-2.5)

	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
	http.Handle("/metrics", metrics)
	http.HandleFunc("/order", func(w http.ResponseWriter, r *http.Request) {
		placed.Inc()
		native.WithLabelValues("/orders").Observe(1)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening on", listener.Addr())
	panic(http.Serve(listener, nil))
}
