export default function GenerateReport() {
  return <h1>GenerateReport</h1>;
}
